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

// fire scrapes ADDRESS as Prometheus does and evaluates the rules of FILE every quarter of a
// second, with Prometheus' own scraper, storage and rule manager; each alert is printed when it
// begins to fire. It ends with the process that started it, or after ten minutes.
func fire(file, address string, labels map[string]string) error {
	folder, err := os.MkdirTemp("", "alerts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	registry := prometheus.NewRegistry()
	db, err := tsdb.Open(folder, logger, registry, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer db.Close()

	scraper, err := scrape.NewManager(
		&scrape.Options{DiscoveryReloadInterval: model.Duration(interval)}, logger, nil, db, registry)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s}\n"+
		"scrape_configs: [{job_name: pullgate}]\n", interval, interval)
	settings, err := config.Load(text, logger)
	if err != nil {
		return err
	}
	if err := scraper.ApplyConfig(settings); err != nil {
		return err
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
	nowhere, err := url.Parse("http://localhost")
	if err != nil {
		return err
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: nowhere,
		QueryFunc:   rules.EngineQueryFunc(engine, db),
		NotifyFunc:  func(context.Context, string, ...*rules.Alert) {},
		Context:     context.Background(),
		Appendable:  db,
		Queryable:   db,
		Logger:      logger,
		Registerer:  registry,
	})
	if err := manager.Update(interval, []string{file}, settings.GlobalConfig.ExternalLabels, "", nil); err != nil {
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
