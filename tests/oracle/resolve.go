package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/kubernetes/pkg/credentialprovider"
)

const (
	pullTimeout = 30 * time.Second
	blobLimit   = 16 << 20
)

type attempt struct {
	// Secret is empty for the anonymous attempt.
	Secret string `json:"secret"`
	Error  string `json:"error"`
	// Class is containerd's class of the error: NotFound, FailedPrecondition, Unknown ...
	Class string `json:"class"`
}

type resolved struct {
	OK bool `json:"ok"`
	// Message is what the kubelet shows: one error, or several in brackets.
	Message  string    `json:"message"`
	Attempts []attempt `json:"attempts"`
	// Digest is that of the manifest or index the reference points at.
	Digest string `json:"digest"`
	// Config is the digest of the configuration of the manifest that was chosen.
	Config string `json:"config"`
}

// resolve pulls what decides (index, manifest, config; no layers) as the kubelet has containerd
// do it: each credential in turn until one succeeds, or once without any.
func resolve(q question) resolved {
	_, found, err := lookup(q)
	if err != nil {
		return resolved{Message: err.Error()}
	}
	tries := []*credentialprovider.TrackedAuthConfig{nil}
	if len(found) > 0 {
		tries = nil
		for i := range found {
			tries = append(tries, &found[i])
		}
	}
	var answer resolved
	var failures []error
	for _, auth := range tries {
		one := attempt{}
		if auth != nil && auth.Source != nil && auth.Source.Secret != nil {
			one.Secret = auth.Source.Secret.Name
		}
		target, chosen, err := pull(q, auth)
		if err == nil {
			answer.Attempts = append(answer.Attempts, one)
			answer.OK, answer.Digest, answer.Config = true, target.String(), chosen.String()
			return answer
		}
		one.Error, one.Class = err.Error(), class(err)
		answer.Attempts = append(answer.Attempts, one)
		failures = append(failures, shown(err))
	}
	answer.Message = utilerrors.NewAggregate(failures).Error()
	return answer
}

// shown is the error as it comes through the CRI: with its gRPC code, which the kubelet leaves
// out if it is Unknown.
func shown(err error) error {
	if class(err) == "Unknown" {
		return err
	}
	return errors.New(errgrpc.ToGRPC(err).Error())
}

func class(err error) string {
	switch {
	case errdefs.IsNotFound(err):
		return "NotFound"
	case errdefs.IsFailedPrecondition(err):
		return "FailedPrecondition"
	case errdefs.IsInvalidArgument(err):
		return "InvalidArgument"
	case errdefs.IsUnavailable(err):
		return "Unavailable"
	case errors.Is(err, context.DeadlineExceeded):
		return "DeadlineExceeded"
	}
	return "Unknown"
}

func pull(q question, auth *credentialprovider.TrackedAuthConfig) (digest.Digest, digest.Digest, error) {
	named, err := reference.ParseDockerRef(q.Image)
	if err != nil {
		return "", "", fmt.Errorf("failed to parse image reference %q: %w", q.Image, err)
	}
	ref := named.String()
	ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
	defer cancel()

	resolver := newResolver(ctx, q, auth)
	wrap := func(err error) error { return fmt.Errorf("failed to pull and unpack image %q: %w", ref, err) }
	name, target, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return "", "", wrap(fmt.Errorf("failed to resolve image: %w", err))
	}
	if target.MediaType == images.MediaTypeDockerSchema1Manifest {
		err := fmt.Errorf("schema 1 image manifests are no longer supported: %w", errdefs.ErrInvalidArgument)
		return "", "", wrap(err)
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return "", "", wrap(fmt.Errorf("failed to get fetcher for %q: %w", name, err))
	}
	node := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	if q.Node != nil {
		node = q.Node.spec()
	}
	store := &memory{blobs: map[digest.Digest][]byte{}}
	children := images.FilterPlatforms(images.ChildrenHandler(store), platforms.Ordered(node))
	if err := images.Dispatch(ctx, images.Handlers(store.fetch(fetcher), children), nil, target); err != nil {
		return "", "", wrap(err)
	}
	chosen, err := images.Config(ctx, store, target, platforms.Only(node))
	if err != nil {
		return "", "", fmt.Errorf("get image config descriptor: %w", err)
	}
	return target.Digest, chosen.Digest, nil
}

// newResolver is built anew for each attempt, as the CRI plugin does.
func newResolver(ctx context.Context, q question, auth *credentialprovider.TrackedAuthConfig) remotes.Resolver {
	options := config.HostOptions{
		Credentials: func(string) (string, string, error) {
			// ParseAuth of the CRI plugin for what the kubelet sends: no server address, no
			// tokens; an empty user name is anonymous.
			if auth == nil || auth.Username == "" {
				return "", "", nil
			}
			return auth.Username, auth.Password, nil
		},
		UpdateClient: func(client *http.Client) error {
			if transport, ok := client.Transport.(*http.Transport); ok {
				// A proxy of the machine that runs the tests is none of the node's.
				transport.Proxy = nil
				transport.DisableKeepAlives = true
			}
			return nil
		},
	}
	if q.HostsDir != "" {
		options.HostDir = config.HostDirFromRoot(q.HostsDir)
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, options)})
}

// memory holds manifests and configurations; layers are not fetched.
type memory struct {
	lock  sync.Mutex
	blobs map[digest.Digest][]byte
}

func (m *memory) fetch(fetcher remotes.Fetcher) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if images.IsLayerType(desc.MediaType) {
			return nil, images.ErrSkipDesc
		}
		body, err := fetcher.Fetch(ctx, desc)
		if err != nil {
			return nil, fmt.Errorf("failed to copy: %w", err)
		}
		defer body.Close()
		data, err := io.ReadAll(io.LimitReader(body, blobLimit))
		if err != nil {
			return nil, fmt.Errorf("failed to copy: %w", err)
		}
		if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
			return nil, fmt.Errorf("unexpected commit digest %s, expected %s: %w",
				got, desc.Digest, errdefs.ErrFailedPrecondition)
		}
		m.lock.Lock()
		defer m.lock.Unlock()
		m.blobs[desc.Digest] = data
		return nil, nil
	}
}

func (m *memory) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	data, ok := m.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("content %v: %w", desc.Digest, errdefs.ErrNotFound)
	}
	return reader(data), nil
}

type reader []byte

func (r reader) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(r)) {
		return 0, io.EOF
	}
	n := copy(p, r[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r reader) Close() error { return nil }
func (r reader) Size() int64  { return int64(len(r)) }
