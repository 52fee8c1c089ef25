// Reads the groups of a PrometheusRule's spec as Prometheus itself does, and says what is wrong:
// `alerts FILE`, a file of rules in YAML or JSON.
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: alerts FILE")
		os.Exit(2)
	}
	_, faults := rulefmt.ParseFile(os.Args[1], false, model.UTF8Validation)
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}
