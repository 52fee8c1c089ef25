// Packs a folder as an OCI image without a base: one layer, written as an OCI layout. The same
// folder and arguments give the same bytes.
//
//	go run . -root FOLDER -arch amd64 -version 0.1.0 -revision COMMIT -created EPOCH -layout OUT
//
// Several -root and -arch pairs, in the same order, make an index of several platforms.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type facts struct {
	version, revision, name string
	created                 time.Time
}

func main() {
	var roots, archs list
	var f facts
	var epoch int64
	var out, archive string
	flag.Var(&roots, "root", "folder to pack (repeatable)")
	flag.Var(&archs, "arch", "its architecture, as Go calls it (repeatable)")
	flag.StringVar(&f.version, "version", "0.0.0", "version, for a label")
	flag.StringVar(&f.revision, "revision", "unknown", "commit, for a label")
	flag.StringVar(&f.name, "name", "pullgate:dev", "reference name in the layout")
	flag.Int64Var(&epoch, "created", 0, "time of everything, in seconds since 1970")
	flag.StringVar(&out, "layout", "", "folder of the OCI layout to write")
	flag.StringVar(&archive, "archive", "", "the layout as one tar file, too")
	flag.Parse()
	f.created = time.Unix(epoch, 0).UTC()
	if err := run(roots, archs, f, out, archive); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(roots, archs list, f facts, out, archive string) error {
	if len(roots) == 0 || len(roots) != len(archs) || out == "" {
		return errors.New("give -layout, and as many -root as -arch")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var last v1.Image
	for i, root := range roots {
		image, err := pack(root, archs[i], f)
		if err != nil {
			return fmt.Errorf("failed to pack %s: %w", root, err)
		}
		last = image
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: archs[i]}},
		})
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	path, err := layout.Write(out, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tagOf(f.name),
		"io.containerd.image.name":          full(f.name),
	})
	if len(roots) == 1 {
		platform := layout.WithPlatform(v1.Platform{OS: "linux", Architecture: archs[0]})
		err = path.AppendImage(last, named, platform)
	} else {
		err = path.AppendIndex(index, named)
	}
	if err != nil {
		return err
	}
	if archive == "" {
		return nil
	}
	content, err := tarOf(out, f.created, false)
	if err != nil {
		return err
	}
	return os.WriteFile(archive, content, 0o644)
}

// The name as runtimes keep it: a short one is Docker Hub's to them.
func full(name string) string {
	host, rest, found := strings.Cut(name, "/")
	switch {
	case !found:
		return "docker.io/library/" + name
	case host != "localhost" && !strings.ContainsAny(host, ".:"):
		return "docker.io/" + host + "/" + rest
	}
	return name
}

func tagOf(name string) string {
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		return name[at+1:]
	}
	return "latest"
}

func pack(root, arch string, f facts) (v1.Image, error) {
	content, err := tarOf(root, f.created, true)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: f.created}, CreatedBy: "make image-scratch"},
	})
	if err != nil {
		return nil, err
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       "pullgate",
		"org.opencontainers.image.description": "Says before rollout whether the nodes of a Kubernetes cluster will be able to pull the images it names",
		"org.opencontainers.image.source":      "https://github.com/pullgate/pullgate",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     f.version,
		"org.opencontainers.image.revision":    f.revision,
		"org.opencontainers.image.created":     f.created.Format(time.RFC3339),
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	file.Created = v1.Time{Time: f.created}
	file.Config = v1.Config{
		User:         "65532:65532",
		Entrypoint:   []string{"/pullgate"},
		Cmd:          []string{"serve"},
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8443/tcp": {}, "8080/tcp": {}},
		Labels:       labels,
	}
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, labels).(v1.Image)
	if !ok {
		return nil, errors.New("an image with annotations is none")
	}
	return annotated, nil
}

// tarOf is a folder as a tar: names in order, one time, no names of users. In an image everything
// is root's and nobody may write.
func tarOf(root string, when time.Time, image bool) ([]byte, error) {
	var paths []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != root {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Strings(paths)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		inside, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		head := &tar.Header{Name: filepath.ToSlash(inside), ModTime: when, Format: tar.FormatPAX}
		switch {
		case info.IsDir():
			head.Typeflag, head.Name, head.Mode = tar.TypeDir, head.Name+"/", 0o755
		case info.Mode().IsRegular():
			head.Typeflag, head.Size, head.Mode = tar.TypeReg, info.Size(), 0o644
			if image {
				head.Mode = int64(info.Mode().Perm() &^ 0o222)
			}
		default:
			return nil, fmt.Errorf("%s is neither a file nor a folder", path)
		}
		if err := w.WriteHeader(head); err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
