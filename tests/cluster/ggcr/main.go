// Serves go-containerregistry's in-memory registry, for tests. It is started like
// distribution's: `registry-ggcr serve config.yml`, and reads of that file where to listen.
package main

import (
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		log.Fatal("usage: registry-ggcr serve FILE")
	}
	config, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range strings.Split(string(config), "\n") {
		if address, found := strings.CutPrefix(strings.TrimSpace(line), "addr: "); found {
			log.Fatal(http.ListenAndServe(address, registry.New()))
		}
	}
	log.Fatal("the file names no address")
}
