// Serves a registry of distribution's second major version, for tests:
// `registry-v2 serve config.yml`. Upstream's own main package asks for modules that are gone;
// the registry itself is theirs, unchanged.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/docker/distribution/configuration"
	_ "github.com/docker/distribution/registry/auth/htpasswd"
	_ "github.com/docker/distribution/registry/auth/token"
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/filesystem"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		log.Fatal("usage: registry-v2 serve FILE")
	}
	file, err := os.Open(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	config, err := configuration.Parse(file)
	if err != nil {
		log.Fatal(err)
	}
	app := handlers.NewApp(context.Background(), config)
	log.Fatal(http.ListenAndServe(config.HTTP.Addr, app))
}
