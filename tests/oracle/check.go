package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
)

// check compares the answers to the questions in files with what each says under "want": the fields
// that are named there, and no others. It answers the status with which the program ends.
func check(files []string) int {
	cases, differ := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<24)
		for number := 1; lines.Scan(); number++ {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			cases++
			wrong, err := compare(lines.Bytes())
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s:%d: %v\n", file, number, err)
				return 2
			}
			for _, field := range wrong {
				fmt.Printf("%s:%d: %s\n", file, number, field)
			}
			if len(wrong) > 0 {
				differ++
			}
		}
		if err := lines.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			return 2
		}
	}
	fmt.Printf("%d cases, %d differ\n", cases, differ)
	if differ > 0 {
		return 1
	}
	return 0
}

// compare answers one question; the fields that differ, each with both values.
func compare(line []byte) ([]string, error) {
	var asked struct {
		Want map[string]any `json:"want"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	if len(asked.Want) == 0 {
		return nil, fmt.Errorf("there is no \"want\"")
	}
	encoded, err := json.Marshal(answer(line))
	if err != nil {
		return nil, err
	}
	var is map[string]any
	if err := json.Unmarshal(encoded, &is); err != nil {
		return nil, err
	}
	if why, unreadable := is["unreadable"]; unreadable {
		return nil, fmt.Errorf("%v", why)
	}
	var wrong []string
	for field, want := range asked.Want {
		if !reflect.DeepEqual(want, is[field]) {
			wrong = append(wrong, fmt.Sprintf("%s: want %s, is %s", field, text(want), text(is[field])))
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}

func text(value any) string {
	encoded, _ := json.Marshal(value)
	return string(encoded)
}

// versions says whose code answers.
func versions() {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	fmt.Println(build.GoVersion)
	for _, module := range build.Deps {
		switch module.Path {
		case "k8s.io/kubernetes", "github.com/containerd/containerd/v2", "github.com/containerd/platforms",
			"github.com/distribution/reference", "go.podman.io/image/v5":
			fmt.Println(module.Path, module.Version)
		}
	}
}
