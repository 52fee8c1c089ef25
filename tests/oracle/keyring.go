package main

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

type credential struct {
	// Bytes: what base64 of an auth field held need not be text.
	Username []byte `json:"username"`
	Password []byte `json:"password"`
	Secret   string `json:"secret"`
}

type credentials struct {
	Error       string       `json:"error"`
	Credentials []credential `json:"credentials"`
}

// lookup answers the credentials that the kubelet tries for the image, in its order.
func lookup(q question) (string, []credentialprovider.TrackedAuthConfig, error) {
	name, _, _, err := parsers.ParseImageName(q.Image)
	if err != nil {
		return "", nil, err
	}
	list := q.Secrets
	if len(list) == 0 {
		// The ServiceAccount admission plugin fills in an empty list.
		list = q.ServiceAccount
	}
	var typed []corev1.Secret
	for _, s := range list {
		typed = append(typed, corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: s.Name},
			Type:       corev1.SecretType(s.Type),
			Data:       s.Data,
		})
	}
	node := credentialprovider.UnionDockerKeyring{}
	if q.NodeConfig != nil {
		var config credentialprovider.DockerConfigJSON
		if err := json.Unmarshal(q.NodeConfig, &config); err != nil {
			return name, nil, err
		}
		ring := &credentialprovider.BasicDockerKeyring{}
		ring.Add(nil, config.Auths)
		node = append(node, ring)
	}
	ring, err := secrets.MakeDockerKeyring(typed, node)
	if err != nil {
		return name, nil, err
	}
	found, _ := ring.Lookup(name)
	return name, found, nil
}

func keyring(q question) credentials {
	_, found, err := lookup(q)
	if err != nil {
		return credentials{Error: err.Error()}
	}
	answer := credentials{Credentials: []credential{}}
	for _, auth := range found {
		c := credential{Username: []byte(auth.Username), Password: []byte(auth.Password)}
		if auth.Source != nil && auth.Source.Secret != nil {
			c.Secret = auth.Source.Secret.Name
		}
		answer.Credentials = append(answer.Credentials, c)
	}
	return answer
}

// globs answers which patterns fit the image, as for matchImages of credential plugins.
func globs(q question) map[string]any {
	name, _, _, err := parsers.ParseImageName(q.Image)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	fits := []bool{}
	for _, glob := range q.Globs {
		fit, err := credentialprovider.URLsMatchStr(glob, name)
		fits = append(fits, err == nil && fit)
	}
	return map[string]any{"fits": fits}
}
