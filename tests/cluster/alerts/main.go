// What Prometheus itself makes of a PrometheusRule's spec, a file in YAML or JSON.
//
// `alerts query ADDRESS NAMESPACE SERVICE` scrapes a target and answers expressions, one a line.
// `alerts FILE` reads it and says what is wrong with it. `alerts FILE ADDRESS NAMESPACE SERVICE`
// scrapes a target, with these labels as the operator adds them, and prints the alerts that fire.
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: alerts FILE [ADDRESS NAMESPACE SERVICE] | alerts query ADDRESS NAMESPACE SERVICE")
		os.Exit(2)
	}
	if len(os.Args) == 5 && os.Args[1] == "query" {
		labels := map[string]string{"namespace": os.Args[3], "service": os.Args[4]}
		if err := query(os.Args[2], labels); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_, faults := rulefmt.ParseFile(os.Args[1], false, model.UTF8Validation)
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	if len(os.Args) == 5 {
		labels := map[string]string{"namespace": os.Args[3], "service": os.Args[4]}
		if err := fire(os.Args[1], os.Args[2], labels); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
