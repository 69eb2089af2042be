package auth

import (
	"encoding/json"
	"math"
)

// Resource is what a token lets its principal query: some hosts of a cluster for some time.
type Resource struct {
	Cluster  string
	Hosts    []string
	From, To int64 // Unix seconds, [From, To)
}

// maxResources and maxResourceHosts bound a resources claim, maxResourceHosts all of its resources together.
const maxResources, maxResourceHosts = 256, 4096

// resources reads the resources claim, if the issuer's tokens may have one:
//
//	[{"cluster": "emmy", "hosts": ["e0101"], "from": 1795200000, "to": 1795286400}]
//
// A claim that is there must be well-formed: nobody is to guess what an issuer meant to grant.
func (i *issuer) resources(claims map[string]any) ([]Resource, error) {
	if i.ResourcesClaim == "" {
		return nil, nil
	}
	value, ok := claims[i.ResourcesClaim]
	if !ok || value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok || len(list) > maxResources {
		return nil, refuse(BadClaims, i.ResourcesClaim+" is not an array, or a long one")
	}
	hosts := 0
	var all []Resource
	for _, item := range list {
		r, ok := readResource(item)
		if hosts += len(r.Hosts); !ok || hosts > maxResourceHosts {
			return nil, refuse(BadClaims, i.ResourcesClaim+" has an item that is none, or too many hosts")
		}
		all = append(all, r)
	}
	return all, nil
}

func readResource(item any) (r Resource, ok bool) {
	o, _ := item.(map[string]any)
	r.Cluster, _ = o["cluster"].(string)
	hosts, _ := o["hosts"].([]any)
	from, isFrom := seconds(o["from"])
	to, isTo := seconds(o["to"])
	if !IsName(r.Cluster) || !isFrom || !isTo || from > to || len(hosts) == 0 || len(hosts) > maxResourceHosts {
		return r, false
	}
	r.From, r.To = from, to
	for _, h := range hosts {
		name, _ := h.(string)
		if !IsName(name) {
			return r, false
		}
		r.Hosts = append(r.Hosts, name)
	}
	return r, true
}

// seconds reads a whole number of Unix seconds.
func seconds(v any) (int64, bool) {
	number, _ := v.(json.Number)
	f, err := float(number)
	return int64(f), err == nil && f >= 0 && f <= maxDate && f == math.Trunc(f)
}
