package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
)

const interval = 250 * time.Millisecond

// scraped is a target under the eye of Prometheus' own scraper and storage, four times a second.
type scraped struct {
	folder   string
	logger   *slog.Logger
	registry *prometheus.Registry
	db       *tsdb.DB
	engine   *promql.Engine
	settings *config.Config
}

// watch begins to scrape ADDRESS, with these labels as the operator adds them.
func watch(address string, labels map[string]string) (*scraped, error) {
	folder, err := os.MkdirTemp("", "alerts")
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	registry := prometheus.NewRegistry()
	db, err := tsdb.Open(folder, logger, registry, tsdb.DefaultOptions(), nil)
	if err != nil {
		return nil, err
	}

	scraper, err := scrape.NewManager(
		&scrape.Options{DiscoveryReloadInterval: model.Duration(interval)}, logger, nil, db, registry)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s}\n"+
		"scrape_configs: [{job_name: pullgate}]\n", interval, interval)
	settings, err := config.Load(text, logger)
	if err != nil {
		return nil, err
	}
	if err := scraper.ApplyConfig(settings); err != nil {
		return nil, err
	}
	own := model.LabelSet{}
	for name, value := range labels {
		own[model.LabelName(name)] = model.LabelValue(value)
	}
	targets := make(chan map[string][]*targetgroup.Group, 1)
	targets <- map[string][]*targetgroup.Group{"pullgate": {{
		Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(address)}},
		Labels:  own,
		Source:  "0",
	}}}
	go func() { _ = scraper.Run(targets) }()

	engine := promql.NewEngine(promql.EngineOpts{
		Logger: logger, Reg: registry, MaxSamples: 1_000_000, Timeout: 10 * time.Second,
	})
	return &scraped{folder, logger, registry, db, engine, settings}, nil
}

func (s *scraped) close() {
	s.db.Close()
	os.RemoveAll(s.folder)
}

// fire evaluates the rules of FILE every quarter of a second on what is scraped, with Prometheus' own
// rule manager; each alert is printed when it begins to fire. It ends with the process that started
// it, or after ten minutes.
func fire(file, address string, labels map[string]string) error {
	s, err := watch(address, labels)
	if err != nil {
		return err
	}
	defer s.close()
	nowhere, err := url.Parse("http://localhost")
	if err != nil {
		return err
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: nowhere,
		QueryFunc:   rules.EngineQueryFunc(s.engine, s.db),
		NotifyFunc:  func(context.Context, string, ...*rules.Alert) {},
		Context:     context.Background(),
		Appendable:  s.db,
		Queryable:   s.db,
		Logger:      s.logger,
		Registerer:  s.registry,
	})
	if err := manager.Update(interval, []string{file}, s.settings.GlobalConfig.ExternalLabels, "", nil); err != nil {
		return err
	}
	go manager.Run()

	told := map[string]bool{}
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(interval) {
		if os.Getppid() == 1 {
			return nil
		}
		for _, rule := range manager.AlertingRules() {
			for _, alert := range rule.ActiveAlerts() {
				name := rule.Name() + " " + alert.Labels.String()
				if alert.State == rules.StateFiring && !told[name] {
					told[name] = true
					fmt.Println(name, alert.Annotations.Get("summary"))
				}
			}
		}
	}
	return nil
}
