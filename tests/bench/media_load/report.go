package main

import (
	"crypto/tls"
	"math"
	"slices"
	"time"
)

func (t *tallies) report(wall time.Duration, connection *client) map[string]any {
	var latencies []time.Duration
	statuses := map[string]int{}
	for _, one := range t.all {
		latencies = append(latencies, one.latencies...)
		for status, count := range one.statuses {
			statuses[status] += count
		}
	}
	slices.Sort(latencies)
	report := map[string]any{
		"requests": len(latencies),
		"seconds":  wall.Seconds(),
		"statuses": statuses,
		"p50_ms":   quantile(latencies, 0.5),
		"p99_ms":   quantile(latencies, 0.99),
		"p999_ms":  quantile(latencies, 0.999),
		"max_ms":   quantile(latencies, 1),
	}
	if connection != nil && connection.conn != nil {
		state := connection.conn.ConnectionState()
		report["cipher"] = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
	}
	return report
}

// quantile is the smallest value that `share` of all do not exceed.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return math.Inf(1)
	}
	place := int(math.Ceil(share*float64(len(sorted)))) - 1
	return float64(sorted[max(0, place)].Microseconds()) / 1_000
}
