// Command runc-plain is runc for a build without libseccomp: it takes the system call filter out of a
// container's configuration before runc sees it. A kubelet asks for the default filter for every
// sandbox, and a runc that cannot set one refuses to start. What is pulled is not touched by it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runc-plain:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	for i, argument := range arguments {
		if argument == "--bundle" && i+1 < len(arguments) {
			if err := withoutFilter(filepath.Join(arguments[i+1], "config.json")); err != nil {
				return err
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runc := filepath.Join(filepath.Dir(self), "runc")
	return syscall.Exec(runc, append([]string{runc}, arguments...), os.Environ())
}

// withoutFilter leaves everything else in the file as it is.
func withoutFilter(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config, linux map[string]json.RawMessage
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	if err := json.Unmarshal(config["linux"], &linux); err != nil {
		return err
	}
	delete(linux, "seccomp")
	if config["linux"], err = json.Marshal(linux); err != nil {
		return err
	}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
