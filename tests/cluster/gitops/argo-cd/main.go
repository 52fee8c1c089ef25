// Runs one part of Argo CD, by name, as its own program does, or the Redis in memory that both parts
// need: for tests. The parts that are left out are for people: the API server with its pages, dex,
// notifications.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	repository "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: argo-cd application-controller|repo-server [FLAG...], argo-cd redis ADDRESS")
	}
	part := os.Args[1]
	os.Args = append(os.Args[:1], os.Args[2:]...)
	var err error
	switch part {
	case "application-controller":
		err = controller.NewCommand().Execute()
	case "repo-server":
		err = repository.NewCommand().Execute()
	case "redis":
		err = redis(os.Args[1])
	default:
		log.Fatalf("unknown part %s", part)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// redis serves until it is told to stop.
func redis(address string) error {
	if err := miniredis.NewMiniRedis().StartAddr(address); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return nil
}
