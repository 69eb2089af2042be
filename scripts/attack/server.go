package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringstore/ringstore/scripts/launch"
)

type object = map[string]any

// target is what an attacker knows.
type target struct {
	Addr, NATS string
	Length     time.Duration
	Tokens     map[string]string // by their role
	Forged     []string          // of issuers with expensive signatures
	Unknown    []string          // of an issuer whose keys cannot be fetched
	Second     int64             // of the first sample
}

func (t *target) url() string { return "http://" + t.Addr }

// The subjects of the embedded NATS server.
const (
	subject       = "honest"
	streamSubject = "streamed"
)

// The clusters: the attacker's token is limited to its own in the attacks on other clusters.
const (
	honestCluster  = "honest"
	hostileCluster = "hostile"
)

// site is a running server with an issuer of its own.
type site struct {
	*launch.Process
	target
	key ed25519.PrivateKey
}

// token returns a token of the main issuer, unless claims has another iss.
func (s *site) token(claims jwt.MapClaims) string {
	all := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, all).SignedString(s.key)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return text
}

// start runs a fresh server. a may add to the configuration.
func start(ctx context.Context, o options, a attack, dir string) (*site, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &site{target: target{Tokens: make(map[string]string), Length: o.length, Second: time.Now().Unix() - 3000}}
	var public ed25519.PublicKey
	var err error
	if public, s.key, err = ed25519.GenerateKey(nil); err != nil {
		return nil, err
	}
	for _, addr := range []*string{&s.Addr, &s.NATS} {
		if *addr, err = launch.FreeAddr(); err != nil {
			return nil, err
		}
	}
	s.Tokens["user"] = s.token(jwt.MapClaims{"sub": "mallory", "roles": []string{"user"}})
	s.Tokens["api"] = s.token(jwt.MapClaims{"sub": "collector", "roles": []string{"api"}})
	s.Tokens["hostile"] = s.token(jwt.MapClaims{"iss": "hostile", "sub": "collector", "roles": []string{"api"}})
	config, err := s.config(public, a)
	if err != nil {
		return nil, err
	}
	return s, s.launch(ctx, o, config, dir)
}

func (s *site) config(public ed25519.PublicKey, a attack) (object, error) {
	metrics := object{}
	for _, m := range []string{"load", "flops", "power"} {
		metrics[m] = object{"frequency": 1, "aggregation": "sum"}
	}
	pub := base64.StdEncoding.EncodeToString(public)
	issuers := []object{
		{"name": "hostile", "issuer": "hostile", "public-key": pub, "roles-claims": []string{"roles"}, "clusters": []string{hostileCluster}},
		{"name": "absent", "issuer": "absent", "jwks-urls": []string{"http://127.0.0.1:1/keys"}, "roles-claims": []string{"roles"}},
	}
	config := object{
		"main":    object{"addr": s.Addr, "jwt-public-key": pub},
		"metrics": metrics,
		"auth":    object{"users-read": "all"},
		"metric-store": object{
			"retention-in-memory": "48h",
			"memory-cap":          1,
			"checkpoints":         object{"directory": "./checkpoints"},
		},
	}
	for i := range 64 {
		s.Unknown = append(s.Unknown, s.token(jwt.MapClaims{"iss": "absent", "sub": fmt.Sprint("m", i), "roles": []string{"api"}}))
	}
	if a.expensive {
		more, err := s.forge()
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, more...)
	}
	config["auth"].(object)["issuers"] = issuers
	if a.nats {
		config["nats"] = object{"embedded": object{"listen": s.NATS}}
		config["metric-store"].(object)["nats-subscriptions"] = []object{
			{"subscribe-to": subject, "cluster-tag": honestCluster, "authorization": "header", "guests": true},
			{"subscribe-to": streamSubject, "cluster-tag": honestCluster, "authorization": "header", "guests": true, "stream": "S", "durable": "d"},
		}
	}
	return config, nil
}

// forge returns issuers whose signatures are expensive to verify, and makes forged tokens of them.
func (s *site) forge() (issuers []object, err error) {
	ec, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return nil, err
	}
	big, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		return nil, err
	}
	for _, i := range []struct {
		alg    string
		method jwt.SigningMethod
		key    crypto.Signer
	}{{"ES512", jwt.SigningMethodES512, ec}, {"RS256", jwt.SigningMethodRS256, big}} {
		der, err := x509.MarshalPKIXPublicKey(i.key.Public())
		if err != nil {
			return nil, err
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		issuers = append(issuers, object{"name": i.alg, "issuer": i.alg, "public-key": text, "algorithms": []string{i.alg}})
		for n := range 64 {
			token, err := jwt.NewWithClaims(i.method, jwt.MapClaims{"iss": i.alg, "sub": fmt.Sprint("m", n), "exp": time.Now().Add(time.Hour).Unix()}).SignedString(i.key)
			if err != nil {
				return nil, err
			}
			at := strings.LastIndexByte(token, '.') + 10
			s.Forged = append(s.Forged, token[:at]+"AAAA"+token[at+4:])
		}
	}
	return issuers, nil
}

func (s *site) launch(ctx context.Context, o options, config object, dir string) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		return err
	}
	if s.Process, err = launch.Serve(ctx, o.program, dir); err != nil {
		return err
	}
	if err := s.WaitReady(ctx, s.url()); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// attack runs the attack in a process of its own with the lowest priority, so that it takes no CPU
// time from the server, as if it came from other machines. It returns the bytes sent.
func (s *site) attack(ctx context.Context, name string) (sent int64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args := []string{self}
	if idle, err := exec.LookPath("chrt"); err == nil {
		args = []string{idle, "--idle", "0", self}
	}
	in, err := json.Marshal(s.target)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asAttacker+"="+name)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return sent, json.Unmarshal(out, &sent)
}
