package configs_test

import (
	"testing"
)

// asking has a backend-url and members of auth.jobs.backend.
func asking(url, members string) string {
	return minimal(`"main": {"addr": ":8082", "jwt-public-key": "`+key+`", "backend-url": "`+url+`"}`,
		`"auth": {"jobs": {"backend": {`+members+`}}}`)
}

func TestRefusedBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const literal = `config.json: auth.jobs.backend.token: must be "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME": a token itself does not belong into a configuration`
	const url = "https://monitoring.example.org"

	f(asking(url, `"token": "eyJhbGciOiJFZERTQSJ9.e30.c2ln"`), literal)
	f(asking(url, `"token": "env:"`), `config.json: auth.jobs.backend.token: the reference names nothing after "env:"`)
	f(asking(url, `"token": "file:"`), `config.json: auth.jobs.backend.token: the reference names nothing after "file:"`)
	f(asking(url, `"token": "ENV:X"`), literal)
	f(asking(url, `"token": ":env:X"`), literal)
	f(asking(url, `"token": 5`), "config.json: auth.jobs.backend.token: must be a string, found a number")
	f(asking("monitoring:8080", `"token": "env:X"`), "config.json: main.backend-url: must be an absolute URL such as https://monitoring.example.org")
	f(asking(url, `"token": "env:X", "poll-interval": "1ms"`), "config.json: auth.jobs.backend.poll-interval: must be at least 1s")
	f(asking(url, `"tokn": "env:X"`), `config.json: auth.jobs.backend.tokn: unknown key; did you mean "token"?`)
}

func TestWarnedOfBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); loaded(t, text, want...) }

	f(asking("https://h", `"token": "env:X"`))
	f(asking("https://h/below", `"token": "file:/run/token"`))
	f(asking("http://localhost:8080", `"token": "env:X"`))
	f(asking("http://[::1]:8080", `"token": "env:X"`))
	f(asking("", ``))
	f(asking("", `"token": "env:X"`), "config.json: auth.jobs.backend.token: has no effect without main.backend-url")
	f(asking("https://h", ``), "config.json: main.backend-url: is not asked where jobs run: auth.jobs.backend.token is missing")
	f(asking("http://h:8080", `"token": "env:X"`), "config.json: main.backend-url: is http: whoever is on the way there can read the token")
	f(asking("h:8080", ``), "config.json: main.backend-url: cannot be asked: not an absolute URL such as https://monitoring.example.org")
}
