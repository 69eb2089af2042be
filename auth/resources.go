package auth

import (
	"encoding/json"
	"math"
)

// Resource is a set of hosts of one cluster, and the time range in which a token's principal may
// query them.
type Resource struct {
	Cluster  string
	Hosts    []string
	From, To int64 // Unix seconds, [From, To)
}

// maxResources and maxResourceHosts limit a resources claim; the hosts of all its resources count
// together.
const maxResources, maxResourceHosts = 256, 4096

// resources reads the resources claim, if one is configured:
//
//	[{"cluster": "emmy", "hosts": ["e0101"], "from": 1795200000, "to": 1795286400}]
//
// A malformed claim is refused as a whole: we do not guess what the issuer meant to grant.
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
		return nil, refuse(BadClaims, i.ResourcesClaim+" is not an array, or too long")
	}
	hosts := 0
	var all []Resource
	for _, item := range list {
		r, ok := readResource(item)
		if hosts += len(r.Hosts); !ok || hosts > maxResourceHosts {
			return nil, refuse(BadClaims, i.ResourcesClaim+" has an invalid item or too many hosts")
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
