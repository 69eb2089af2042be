package configs_test

import "testing"

func TestPrometheus(t *testing.T) {
	f := func(members string, want ...string) {
		t.Helper()
		text := minimal(`"prometheus": {` + members + `}`)
		if len(want) > 0 {
			refused(t, text, want...)
			return
		}
		loaded(t, text)
	}
	f(``)
	f(`"cluster": "alpha", "device-labels": {"cpu": "hwthread"}, "subtype-labels": {"device": "network"}`)
	f(`"cluster": "a\u0001"`, "config.json: prometheus.cluster: the cluster contains a control character")
	f(`"device-labels": {"": "hwthread"}`, `config.json: prometheus.device-labels[""]: the label is empty`)
	f(`"device-labels": {"cpu": ""}`, `config.json: prometheus.device-labels.cpu: missing: the type, such as "hwthread"`)
	f(`"device-labels": {"instance": "node"}`, `config.json: prometheus.device-labels.instance: "instance" has a meaning of its own`)
	f(`"device-labels": {"cpu": "hwthread"}, "subtype-labels": {"cpu": "core"}`, "config.json: prometheus.subtype-labels.cpu: is in device-labels already")
	f(`"device-labels": ["cpu"]`, "config.json: prometheus.device-labels: expected an object; got an array")
	f(`"devices": {}`, `config.json: prometheus.devices: unknown key; known here: cluster, device-labels, subtype-labels`)
}
