package main

import (
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/pkg/shortnames"
	corev1 "k8s.io/api/core/v1"
	v1 "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/util/parsers"
)

type parsed struct {
	// Error is the library's text without the kubelet's words in front.
	Error string `json:"error"`
	// KubeletError is the whole text.
	KubeletError string `json:"kubelet_error"`
	// Name, Tag and Digest are what the kubelet's ParseImageName answers.
	Name   string `json:"name"`
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
	// Domain and Path are the library's.
	Domain string `json:"domain"`
	Path   string `json:"path"`
	// Pulled is what containerd pulls.
	Pulled string `json:"pulled"`
	// Short is CRI-O's test for a short name.
	Short bool `json:"short"`
	// Policy is what the API server puts into an empty imagePullPolicy.
	Policy string `json:"policy"`
}

func parse(image string) parsed {
	container := corev1.Container{Image: image}
	v1.SetDefaults_Container(&container)
	p := parsed{Policy: string(container.ImagePullPolicy)}
	name, tag, digest, err := parsers.ParseImageName(image)
	if err != nil {
		p.KubeletError = err.Error()
		if _, err := reference.ParseNormalizedNamed(image); err != nil {
			p.Error = err.Error()
		}
		return p
	}
	p.Name, p.Tag, p.Digest = name, tag, digest
	if named, err := reference.ParseNormalizedNamed(image); err == nil {
		p.Domain, p.Path = reference.Domain(named), reference.Path(named)
	}
	if pulled, err := reference.ParseDockerRef(image); err == nil {
		p.Pulled = pulled.String()
	}
	p.Short = shortnames.IsShortName(image)
	return p
}

func (p *platform) spec() ocispec.Platform {
	return ocispec.Platform{
		OS:           p.OS,
		Architecture: p.Architecture,
		Variant:      p.Variant,
		OSVersion:    p.OSVersion,
	}
}

func matchPlatform(q question) map[string]bool {
	if q.Node == nil || q.Entry == nil {
		return nil
	}
	return map[string]bool{
		"classic": platforms.Only(q.Node.spec()).Match(q.Entry.spec()),
		"strict":  platforms.Ordered(q.Node.spec()).Match(q.Entry.spec()),
	}
}
