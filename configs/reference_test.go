package configs_test

import (
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

func TestParseReference(t *testing.T) {
	bad := func(text string) {
		t.Helper()
		if ref, isReference, err := configs.ParseReference(text); !isReference || err == nil {
			t.Errorf("%q: %+v, %v, %v", text, ref, isReference, err)
		}
	}
	literal := func(text string) {
		t.Helper()
		if ref, isReference, err := configs.ParseReference(text); isReference || err != nil || ref != (configs.Reference{}) {
			t.Errorf("%q: %+v, %v, %v", text, ref, isReference, err)
		}
	}
	good := func(text string, want configs.Reference) {
		t.Helper()
		ref, isReference, err := configs.ParseReference(text)
		if !isReference || err != nil || ref != want || ref.String() != text {
			t.Errorf("%q: %+v, %v, %v", text, ref, isReference, err)
		}
	}
	for _, text := range []string{
		"env:", "file:", "env", "file", "file:a\x00b", "azure-kv", "azure-kv:", "azure-kv://", "azure-kv:/v/n", "azure-kv:vault/name",
		"azure-kv://vault", "azure-kv://vault/", "azure-kv:///name", "azure-kv://vault/name/", "azure-kv://vault/name/1/2",
		"azure-kv://vault/a_b", "azure-kv://vault/a.b", "azure-kv://vault/..", "azure-kv://vault/n?x=1", "azure-kv://vault/n#x",
		"azure-kv://u:p@vault.example.org/n", "azure-kv://vault..net/n", "azure-kv://.net/n", "azure-kv://vault.net:x/n",
		"azure-kv://vault.net:99999/n", "azure-kv://vault:443/n", "azure-kv://ü/n", "azure-kv://" + strings.Repeat("v", 25) + "/n",
		"azure-kv://vault/" + strings.Repeat("n", 128), "azure-kv://vault/n/" + strings.Repeat("1", 128),
	} {
		bad(text)
	}
	for _, text := range []string{"", "ENV:A", " env:A", "environment:A", "https://h", "azure-kvx://v/n", "X4Ll/9q9=", "base64:AAAA", "vault://v/n"} {
		literal(text)
	}
	good("env:NAME", configs.Reference{Store: "env", Name: "NAME"})
	good("env:a:b", configs.Reference{Store: "env", Name: "a:b"})
	good("file:keys/cc.pem", configs.Reference{Store: "file", Name: "keys/cc.pem"})
	good("azure-kv://vault/key", configs.Reference{Store: "azure-kv", Vault: "vault", Name: "key"})
	good("azure-kv://my-vault/key/0123456789abcdef", configs.Reference{Store: "azure-kv", Vault: "my-vault", Name: "key", Version: "0123456789abcdef"})
	good("azure-kv://v.vault.azure.cn/key", configs.Reference{Store: "azure-kv", Vault: "v.vault.azure.cn", Name: "key"})
	good("azure-kv://vault.example.org:8443/key", configs.Reference{Store: "azure-kv", Vault: "vault.example.org:8443", Name: "key"})

	// What Azure's portal and tools show as the identifier of a secret.
	identifier := func(text, vault, name, version string) {
		t.Helper()
		want := configs.Reference{Store: "azure-kv", Vault: vault, Name: name, Version: version}
		ref, isReference, err := configs.ParseReference(text)
		if !isReference || err != nil || ref != want {
			t.Errorf("%q: %+v, %v, %v", text, ref, isReference, err)
		}
		if again, _, err := configs.ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%q is shown as %q, which is %+v, %v", text, ref, again, err)
		}
	}
	const host, version = "v.vault.azure.net", "0123456789abcdef0123456789abcdef"
	identifier("https://v.vault.azure.net/secrets/NAME/"+version, host, "NAME", version)
	identifier("https://v.vault.azure.net/secrets/NAME", host, "NAME", "")
	identifier("https://v.vault.azure.net:443/secrets/NAME", host+":443", "NAME", "")
	identifier("https://V.Vault.Azure.NET/secrets/NAME", "V.Vault.Azure.NET", "NAME", "")
	identifier("https://v.vault.azure.cn/secrets/NAME", "v.vault.azure.cn", "NAME", "")
	identifier("https://v.vault.usgovcloudapi.net/secrets/NAME", "v.vault.usgovcloudapi.net", "NAME", "")
	identifier("https://v.vault.azure.net/secrets/secrets/"+version, host, "secrets", version)
	identifier("azure-kv://v.vault.azure.net/secrets/NAME", host, "NAME", "")
	identifier("azure-kv://v.vault.azure.net/secrets/NAME/"+version, host, "NAME", version)
	identifier("azure-kv://v.vault.azure.net/secrets/"+version, host, version, "")
	identifier("azure-kv://v/secrets/NAME", "v", "NAME", "")
	identifier("azure-kv://v/secrets/NAME/"+version, "v", "NAME", version)
	identifier("azure-kv://v/secrets/"+version, "v", "secrets", version)
	identifier("azure-kv://v/secrets", "v", "secrets", "")
	for _, text := range []string{
		"https://v.vault.azure.net", "https://v.vault.azure.net/", "https://v.vault.azure.net/keys/NAME/" + version, "https://v.vault.azure.net/NAME",
		"https://v.vault.azure.net/secrets/", "https://v.vault.azure.net/secrets/NAME/", "https://v.vault.azure.net/secrets/NAME?api-version=7.4",
		"https://v.vault.azure.net/secrets/NAME/1/2", "https://.vault.azure.net/secrets/NAME",
		"https://u@v.vault.azure.net/secrets/NAME", "https:v.vault.azure.net/secrets/NAME", "azure-kv://v.vault.azure.net/secrets/", "azure-kv://v/secrets/NAME/1/2",
	} {
		bad(text)
	}
	for _, text := range []string{
		"https://v.vault.azure.net.evil.example.org/secrets/NAME", "https://vault.azure.net/secrets/NAME", "https://evil.example.org/secrets/NAME",
		"https://evil.example.org/v.vault.azure.net/secrets/NAME", "http://v.vault.azure.net/secrets/NAME", "https://u:p.vault.azure.net/secrets/NAME",
	} {
		literal(text)
	}
}

func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"", "env:A", "file:a\nb", "azure-kv://vault/name/1", "azure-kv://h.example.org:1/n", "azure-kv://../.."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, isReference, err := configs.ParseReference(text)
		if err != nil || !isReference {
			return
		}
		if shown := ref.String(); strings.ContainsAny(shown, "\n\x00") {
			t.Errorf("%q is shown as %q", text, shown)
		}
		if again, _, err := configs.ParseReference(ref.String()); ref.Store == configs.StoreAzureKV && (err != nil || again != ref) {
			t.Errorf("%q is shown as %q", text, ref)
		}
	})
}
