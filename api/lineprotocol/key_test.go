package lineprotocol

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseKeyRejects(t *testing.T) {
	f := func(key, reason string) {
		t.Helper()
		k, err := ParseKey([]byte(key))
		if err == nil || err.Error() != reason {
			t.Errorf("%.100q: got error %v, want %q", key, err, reason)
		}
		if !reflect.DeepEqual(k, Key{}) {
			t.Errorf("%.100q: got %+v with an error", key, k)
		}
	}

	// Tags that do not identify one series.
	f("m,cluster=a,cluster=a", `tag "cluster" appears twice`)
	f("m,cluster=a,host=h,cluster=b", `tag "cluster" appears twice`)
	f("m,host=h,host=h", `tag "host" appears twice`)
	f("m,unit=a,x=b,unit=a", `tag "unit" appears twice`)
	f(`m,a\ b=1,a\ b=2`, `tag "a b" appears twice`)
	f("m,hostname=a,host=b,hostname=c", `tag "hostname" appears twice`)
	f("m,host=a,hostname=c,host=b", `tag "host" appears twice`)
	f("m,type-id=0", `tag "type-id" without tag "type"`)
	f("m,stype-id=eth0,type=node", `tag "stype-id" without tag "stype"`)

	// Grammar.
	f("", "no metric name")
	f(",a=b", "no metric name")
	f("m,", "nothing after a comma where a tag is expected")
	f("m,,a=b", "nothing after a comma where a tag is expected")
	f("m,a=b,", "nothing after a comma where a tag is expected")
	f("m,a", `tag "a" has no '='`)
	f(`m,a\=b`, `tag "a\\=b" has no '='`)
	f("m,a=", `tag "a" has no value`)
	f("m,a=,b=c", `tag "a" has no value`)
	f("m,=b", `a tag without a name: "=b"`)
	f("m,=", `a tag without a name: "="`)
	f("m,a=b=c", `tag "a" has an unescaped '=' in its value`)
	f(`m,a=b\\,c\=d=e`, `tag "a" has an unescaped '=' in its value`)
	f("m,a==", `tag "a" has an unescaped '=' in its value`)

	// Bytes and bounds.
	f("m a,b=c", "unescaped space at byte 2 of the metric and its tags")
	f("m,a=b\tc", `control character '\t' at byte 6 of the metric and its tags`)
	f("m\x00", `control character '\x00' at byte 2 of the metric and its tags`)
	f("m,a\\\n=b", `control character '\n' at byte 5 of the metric and its tags`)
	f("m,a=\x7f", `control character '\x7f' at byte 5 of the metric and its tags`)
	f("m,a=\xff", "invalid UTF-8 in the metric or its tags")
	f(strings.Repeat("m", MaxKey+1), "the metric and its tags are longer than 4096 bytes")
	f(manyTags(MaxTags+1), "more than 64 tags")
	f("m,"+strings.Repeat("x", 1000), `tag "`+strings.Repeat("x", 59)+`"... has no '='`)
}

func TestParseKeyAccepts(t *testing.T) {
	f := func(key string, want Key) {
		t.Helper()
		if got, err := ParseKey([]byte(key)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", key, got, err, want)
		}
	}

	f("m", Key{Metric: "m"})
	f("m,cluster=c,hostname=h,type=hwthread,type-id=3",
		Key{Metric: "m", Cluster: "c", Host: "h", Type: "hwthread", TypeID: "3"})
	f("m,type-id=00000000:49:00.0,host=h,type=accelerator,cluster=c",
		Key{Metric: "m", Cluster: "c", Host: "h", Type: "accelerator", TypeID: "00000000:49:00.0"})
	f("m,host=h,hostname=h", Key{Metric: "m", Host: "h"})
	f("m,host=h", Key{Metric: "m", Host: "h"})

	// hostname wins over the host that Telegraf adds, in any order.
	f("cpu,cluster=c,hostname=n1,host=telegraf-gw,cpu=cpu0",
		Key{Metric: "cpu", Cluster: "c", Host: "n1", Extra: []Tag{{"cpu", "cpu0"}, {"host", "telegraf-gw"}}})
	f("cpu,host=telegraf-gw,unit=x,hostname=n1", Key{Metric: "cpu", Host: "n1", Extra: []Tag{{"unit", "x"}, {"host", "telegraf-gw"}}})

	// Node scope, with and without a type.
	f("m,hostname=h,type=node", Key{Metric: "m", Host: "h"})
	f("m,type=node,type-id=0", Key{Metric: "m"})
	f("m,type-id=0,type=node", Key{Metric: "m"})
	f("m,stype=network,stype-id=eth0,type=node", Key{Metric: "m", Subtype: "network", SubtypeID: "eth0"})
	f("m,stype=filesystem,stype-id=/home", Key{Metric: "m", Subtype: "filesystem", SubtypeID: "/home"})

	// A type without an id is a device of its own.
	f("m,type=socket", Key{Metric: "m", Type: "socket"})
	f("m,type=socket,type-id=0,stype=x", Key{Metric: "m", Type: "socket", TypeID: "0", Subtype: "x"})

	// Other tags, in their order.
	f("m,unit=Percent,cluster=c,device=/dev/vda",
		Key{Metric: "m", Cluster: "c", Extra: []Tag{{"unit", "Percent"}, {"device", "/dev/vda"}}})
	f("m,Cluster=c", Key{Metric: "m", Extra: []Tag{{"Cluster", "c"}}})

	// Escapes: ", =" in tags, ", " in the metric. Any other backslash stays.
	f(`m\ \,\=\x,a=b`, Key{Metric: `m ,\=\x`, Extra: []Tag{{"a", "b"}}})
	f(`m=n,a\,\ \==\=\,\ \z`, Key{Metric: "m=n", Extra: []Tag{{"a, =", `=, \z`}}})
	f(`m,a=b\\,c\=d`, Key{Metric: "m", Extra: []Tag{{"a", `b\,c=d`}}})
	f(`m,a=\\`, Key{Metric: "m", Extra: []Tag{{"a", `\\`}}})
	f(`m,cluster=a\ b`, Key{Metric: "m", Cluster: "a b"})
	f("m,a=\"b\"", Key{Metric: "m", Extra: []Tag{{"a", `"b"`}}})
	f("µ,a=é", Key{Metric: "µ", Extra: []Tag{{"a", "é"}}})
}

func TestParseKeyTakesMaxTags(t *testing.T) {
	k, err := ParseKey([]byte(manyTags(MaxTags)))
	if err != nil || len(k.Extra) != MaxTags {
		t.Errorf("got %d tags, %v", len(k.Extra), err)
	}
}

func TestParseKeyCopies(t *testing.T) {
	key := []byte("m,cluster=c,host=h,type=t,type-id=i,stype=s,stype-id=j,x=y")
	k, err := ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(k)
	clear(key)
	if fmt.Sprint(k) != want {
		t.Errorf("a key changed with its input: %q, want %q", fmt.Sprint(k), want)
	}
}

func manyTags(n int) string {
	key := "m"
	for i := range n {
		key += fmt.Sprintf(",t%d=x", i)
	}
	return key
}

// FuzzParseKey checks what holds for any key. FuzzScanner compares keys with the library's.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{
		"m", "m,cluster=c,hostname=h,type=hwthread,type-id=0,stype=s,stype-id=1,unit=B",
		`m\ \,,a\=\,\ =\=b\\,x=y`, "m,host=a,hostname=a", "m,=", "m,a==b", "m,a=b,", "m \x00\xff", "m,a=b\\",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		k, err := ParseKey(key)
		if err != nil {
			checkReason(t, err.Error())
			return
		}
		if k.Metric == "" || k.Type == nodeType || k.Type == "" && k.TypeID != "" || k.Subtype == "" && k.SubtypeID != "" {
			t.Fatalf("%q: got %+v", key, k)
		}
		if slices.ContainsFunc(k.Extra, func(tag Tag) bool { return tag.Name == "" || tag.Value == "" }) {
			t.Fatalf("%q: got an empty tag: %+v", key, k)
		}
	})
}
