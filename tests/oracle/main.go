// The oracle answers, with the kubelet's, containerd's and CRI-O's own code, the questions that Pullgate
// answers with its own: JSON Lines on stdin, one answer per line on stdout. See README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/sirupsen/logrus"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
)

const usage = `pullgate-oracle answers with the kubelet's, containerd's and CRI-O's own code.

  pullgate-oracle               reads questions from stdin, one JSON object a line; answers them on stdout
  pullgate-oracle check FILE... asks the questions of these files, compares each answer with its "want",
                                and ends with 1 if one differs
  pullgate-oracle versions      says whose code it was built of
`

// A question. Op says which of the fields count.
type question struct {
	Op             string   `json:"op"`
	Image          string   `json:"image"`
	Secrets        []secret `json:"secrets"`
	ServiceAccount []secret `json:"service_account_secrets"`
	// NodeConfig is the docker configuration of the node, JSON.
	NodeConfig json.RawMessage `json:"node_config"`
	HostsDir   string          `json:"hosts_dir"`
	Node       *platform       `json:"node"`
	Entry      *platform       `json:"entry"`
	Globs      []string        `json:"globs"`
	// The files of a CRI-O node.
	crioFiles
}

// A Secret, as much of it as the kubelet looks at. Data is base64 on the wire.
type secret struct {
	Name string            `json:"name"`
	Type string            `json:"type"`
	Data map[string][]byte `json:"data"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
}

func main() {
	// The kubelet names the secret of a credential only behind this gate.
	if err := utilfeature.DefaultMutableFeatureGate.Set("KubeletEnsureSecretPulledImages=true"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	klog.SetLogger(klog.Logger{})
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	logrus.SetOutput(io.Discard)

	// CRI-O has no terminal, and its library asks a person where it finds one.
	questions := os.Stdin
	if nothing, err := os.Open(os.DevNull); err == nil {
		os.Stdin = nothing
	}
	defer removeFolder()

	switch {
	case len(os.Args) == 1:
		answerAll(questions, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == "versions":
		versions()
	case len(os.Args) > 2 && os.Args[1] == "check":
		status := check(os.Args[2:])
		removeFolder()
		os.Exit(status)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}

// answerAll answers every line of a stream.
func answerAll(from io.Reader, to io.Writer) {
	in := bufio.NewReaderSize(from, 1<<20)
	out := bufio.NewWriterSize(to, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := encoder.Encode(answer(line)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
			// Whoever asks one question at a time gets the answer at once.
			if in.Buffered() == 0 {
				out.Flush()
			}
		}
		if err != nil {
			break
		}
	}
	out.Flush()
}

func answer(line []byte) any {
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return map[string]string{"unreadable": err.Error()}
	}
	switch q.Op {
	case "parse":
		return parse(q.Image)
	case "keyring":
		return keyring(q)
	case "globs":
		return globs(q)
	case "platform":
		return matchPlatform(q)
	case "resolve":
		return resolve(q)
	case "crio_names":
		return q.names()
	case "crio_ways":
		return q.ways()
	case "crio_pull":
		return q.crioPull()
	}
	return map[string]string{"unreadable": "unknown op " + q.Op}
}
