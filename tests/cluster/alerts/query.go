package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// sample is one series of an answer.
type sample struct {
	Labels map[string]string `json:"labels"`
	Values [][2]float64      `json:"values"`
}

// answer is what a query comes to, over the time that was scraped.
type answer struct {
	Error  string   `json:"error,omitempty"`
	Series []sample `json:"series"`
}

// query scrapes ADDRESS and answers each line of its input, an expression, with a line of JSON: the
// series that Prometheus' own engine makes of it, every second since it began. It ends with its input.
func query(address string, labels map[string]string) error {
	s, err := watch(address, labels)
	if err != nil {
		return err
	}
	defer s.close()
	began := time.Now()
	out := json.NewEncoder(os.Stdout)
	fmt.Fprintln(os.Stderr, "scraping", address)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := out.Encode(s.ask(lines.Text(), began)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (s *scraped) ask(expression string, began time.Time) answer {
	ctx := context.Background()
	asked, err := s.engine.NewRangeQuery(ctx, s.db, nil, expression, began, time.Now(), time.Second)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer asked.Close()
	result := asked.Exec(ctx)
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	matrix, ok := result.Value.(promql.Matrix)
	if !ok {
		return answer{Error: fmt.Sprintf("no series but %T", result.Value)}
	}
	found := answer{Series: []sample{}}
	for _, series := range matrix {
		one := sample{Labels: series.Metric.Map()}
		for _, point := range series.Floats {
			// Nothing by nothing, such as a quantile while nothing happens: no panel draws it, and
			// JSON has no word for it.
			if math.IsNaN(point.F) || math.IsInf(point.F, 0) {
				continue
			}
			one.Values = append(one.Values, [2]float64{float64(point.T) / 1000, point.F})
		}
		if len(one.Values) > 0 {
			found.Series = append(found.Series, one)
		}
	}
	return found
}
