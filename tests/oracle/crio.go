package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/pkg/shortnames"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// crioFiles are the files of a CRI-O node, as text.
type crioFiles struct {
	// RegistriesConf is /etc/containers/registries.conf.
	RegistriesConf string `json:"registries_conf"`
	// DropIns are the files of registries.conf.d, by name.
	DropIns map[string]string `json:"drop_ins"`
	// ShortNameMode is short_name_mode of crio.conf; empty where that is not set.
	ShortNameMode string `json:"short_name_mode"`
	// AuthFile is global_auth_file of crio.conf, or the file of the namespace.
	AuthFile json.RawMessage `json:"auth_file"`
}

// crioFolder is where the files of one question are written.
var crioFolder string

// systemContext writes the files and answers what the library needs to find them, and only them.
func (f crioFiles) systemContext() (*types.SystemContext, error) {
	if crioFolder == "" {
		made, err := os.MkdirTemp("", "pullgate-oracle-")
		if err != nil {
			return nil, err
		}
		crioFolder = made
	}
	at := func(name string) string { return filepath.Join(crioFolder, name) }
	sys := &types.SystemContext{
		SystemRegistriesConfPath:    at("registries.conf"),
		SystemRegistriesConfDirPath: at("registries.conf.d"),
		UserShortNameAliasConfPath:  at("short-name-aliases.conf"),
		AuthFilePath:                at("auth.json"),
		RegistriesDirPath:           at("registries.d"),
		DockerPerHostCertDirPath:    at("certs.d"),
		BigFilesTemporaryDir:        crioFolder,
	}
	auth := f.AuthFile
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	if err := os.RemoveAll(sys.SystemRegistriesConfDirPath); err != nil {
		return nil, err
	}
	files := map[string]string{"registries.conf": f.RegistriesConf, "auth.json": string(auth)}
	for name, text := range f.DropIns {
		if name != filepath.Base(name) {
			return nil, fmt.Errorf("%q is no file name", name)
		}
		files[filepath.Join("registries.conf.d", name)] = text
	}
	for _, folder := range []string{"registries.conf.d", "registries.d", "certs.d"} {
		if err := os.MkdirAll(at(folder), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	switch f.ShortNameMode {
	case "":
	case "enforcing":
		sys.ShortNameMode = shortNameMode(types.ShortNameModeEnforcing)
	case "disabled":
		sys.ShortNameMode = shortNameMode(types.ShortNameModeDisabled)
	default:
		return nil, fmt.Errorf("crio.conf knows no short_name_mode %q", f.ShortNameMode)
	}
	sysregistriesv2.InvalidateCache()
	return sys, nil
}

func shortNameMode(mode types.ShortNameMode) *types.ShortNameMode { return &mode }

// removeFolder leaves nothing behind.
func removeFolder() {
	if crioFolder != "" {
		os.RemoveAll(crioFolder)
	}
}

// refusesFiles says whether an error is one of reading the files.
func refusesFiles(err error) bool {
	return strings.HasPrefix(err.Error(), "loading registries configuration") ||
		strings.HasPrefix(err.Error(), "loading drop-in registries configuration")
}

// withoutPath takes the folder of this process out of an error.
func withoutPath(err error) string {
	return strings.ReplaceAll(err.Error(), crioFolder+string(filepath.Separator), "")
}

type crioNames struct {
	Error string `json:"error"`
	// FilesRefused means that the files themselves are at fault: with them CRI-O pulls nothing.
	FilesRefused bool `json:"files_refused"`
	// Candidates are tried in turn until one is pulled.
	Candidates []string `json:"candidates"`
}

// names answers what CRI-O pulls for an image field: several names if it is short.
func (q question) names() crioNames {
	_, found, err := q.candidates()
	if err != nil {
		return crioNames{Error: withoutPath(err), FilesRefused: refusesFiles(err)}
	}
	answer := crioNames{Candidates: []string{}}
	for _, one := range found {
		answer.Candidates = append(answer.Candidates, one.String())
	}
	return answer
}

func (q question) candidates() (*types.SystemContext, []reference.Named, error) {
	sys, err := q.systemContext()
	if err != nil {
		return nil, nil, err
	}
	resolved, err := shortnames.Resolve(sys, q.Image)
	if err != nil {
		if strings.Contains(err.Error(), "cannot prompt without a TTY") {
			// CRI-O puts it in its own words.
			err = fmt.Errorf("short name mode is enforcing, but image name %s returns ambiguous list", q.Image)
		}
		return nil, nil, err
	}
	var found []reference.Named
	for _, one := range resolved.PullCandidates {
		named, err := untagged(one.Value)
		if err != nil {
			return nil, nil, err
		}
		found = append(found, named)
	}
	return sys, found, nil
}

// untagged drops the tag beside a digest, as CRI-O's references do.
func untagged(named reference.Named) (reference.Named, error) {
	digested, ok := named.(reference.Canonical)
	if !ok {
		return named, nil
	}
	return reference.WithDigest(reference.TrimNamed(named), digested.Digest())
}

type crioWay struct {
	// Reference is what is asked for, by the name that this host knows it by.
	Reference string `json:"reference"`
	// Insecure means that certificates are not verified and plain HTTP is allowed.
	Insecure bool `json:"insecure"`
	// Blocked means that this host is not asked.
	Blocked bool `json:"blocked"`
	// PodCredentials says whether it gets what the kubelet handed over.
	PodCredentials bool `json:"pod_credentials"`
	// Username and Password are those of the node's auth file, where the kubelet's do not count.
	Username string `json:"username"`
	Password string `json:"password"`
	// LoginError is why the auth file cannot be used for this name; then this host is not asked.
	LoginError string `json:"login_error"`
}

type crioWays struct {
	Error        string    `json:"error"`
	FilesRefused bool      `json:"files_refused"`
	Ways         []crioWay `json:"ways"`
}

// ways answers where CRI-O asks for the first candidate of an image, in order.
func (q question) ways() crioWays {
	sys, found, err := q.candidates()
	if err != nil {
		return crioWays{Error: withoutPath(err), FilesRefused: refusesFiles(err)}
	}
	logical := found[0]
	registry, err := sysregistriesv2.FindRegistry(sys, logical.Name())
	if err != nil {
		return crioWays{Error: withoutPath(err)}
	}
	if registry == nil {
		registry = &sysregistriesv2.Registry{Prefix: logical.Name()}
		registry.Location = logical.Name()
	}
	sources, err := registry.PullSourcesFromReference(logical)
	if err != nil {
		return crioWays{Error: withoutPath(err)}
	}
	answer := crioWays{Ways: []crioWay{}}
	for _, source := range sources {
		way := crioWay{
			Reference:      source.Reference.String(),
			Insecure:       source.Endpoint.Insecure,
			PodCredentials: reference.Domain(source.Reference) == reference.Domain(logical),
		}
		own, err := sysregistriesv2.FindRegistry(sys, source.Reference.Name())
		if err != nil {
			return crioWays{Error: withoutPath(err)}
		}
		way.Blocked = own != nil && own.Blocked
		login, err := config.GetCredentialsForRef(sys, source.Reference)
		if err != nil {
			way.LoginError = withoutPath(err)
		}
		way.Username, way.Password = login.Username, login.Password
		answer.Ways = append(answer.Ways, way)
	}
	return answer
}

type crioPulled struct {
	OK bool `json:"ok"`
	// Message is CRI-O's error for the last candidate.
	Message string `json:"message"`
	// Digest is that of the manifest or index the reference points at.
	Digest string `json:"digest"`
	// Config is the digest of the configuration of the manifest that was chosen.
	Config string `json:"config"`
}

// crioPull pulls what decides (index, manifest, config; no layers) as the kubelet has CRI-O do it.
func (q question) crioPull() crioPulled {
	_, credentials, err := lookup(q)
	if err != nil {
		return crioPulled{Message: err.Error()}
	}
	sys, found, err := q.candidates()
	if err != nil {
		return crioPulled{Message: withoutPath(err)}
	}
	if q.Node != nil {
		sys.OSChoice, sys.ArchitectureChoice, sys.VariantChoice = q.Node.OS, q.Node.Architecture, q.Node.Variant
	}
	tries := []*types.DockerAuthConfig{nil}
	if len(credentials) > 0 {
		tries = nil
		for _, one := range credentials {
			// Without a user name CRI-O takes it that none were given.
			var auth *types.DockerAuthConfig
			if one.Username != "" {
				auth = &types.DockerAuthConfig{Username: one.Username, Password: one.Password}
			}
			tries = append(tries, auth)
		}
	}
	var failures []error
	for _, auth := range tries {
		var last error
		for _, named := range found {
			own := *sys
			own.DockerAuthConfig = auth
			target, chosen, err := crioRead(&own, named)
			if err == nil {
				return crioPulled{OK: true, Digest: target.String(), Config: chosen.String()}
			}
			last = err
		}
		failures = append(failures, last)
	}
	return crioPulled{Message: withoutPath(utilerrors.NewAggregate(failures))}
}

func crioRead(sys *types.SystemContext, named reference.Named) (digest.Digest, digest.Digest, error) {
	ref, err := docker.NewReference(named)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
	defer cancel()
	source, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return "", "", err
	}
	text, _, err := source.GetManifest(ctx, nil)
	source.Close()
	if err != nil {
		return "", "", err
	}
	image, err := ref.NewImage(ctx, sys)
	if err != nil {
		return "", "", err
	}
	defer image.Close()
	if _, err := image.ConfigBlob(ctx); err != nil {
		return "", "", err
	}
	return digest.FromBytes(text), image.ConfigInfo().Digest, nil
}
