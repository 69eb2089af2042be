package auth

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/internal/object"
)

// hs256 signs with HMAC, the public key being the "secret": the algorithm confusion of RFC 8725
// section 2.1.
func hs256(secret []byte) string {
	text := b64(`{"alg":"HS256","typ":"JWT"}`) + "." + b64(goodClaims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + b64(string(mac.Sum(nil)))
}

func rs256(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := b64(`{"alg":"RS256","typ":"JWT"}`) + "." + b64(goodClaims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(string(signature))
}

func TestBadTokensAreRefused(t *testing.T) {
	key := newKey("cc-backend")
	public := publicKey(key)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	issuer := newIssuer(t, trust{}, key)
	good := sign(key, goodHeader, goodClaims)
	parts := strings.Split(good, ".")

	f := func(name, token string, want Reason) {
		t.Helper()
		p, err := issuer.Authenticate(t.Context(), token)
		if got := code(err); got != want || p != nil {
			t.Errorf("%s: got principal %v, error %v; want code %q", name, p, err, want)
		}
		if err != nil && len(token) > 8 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in the error", name)
		}
	}
	claims := func(name, payload string, want Reason) {
		t.Helper()
		f(name, sign(key, goodHeader, payload), want)
	}
	header := func(name, h string, want Reason) {
		t.Helper()
		f(name, sign(key, h, goodClaims), want)
	}
	date := func(claim, value string, want Reason) {
		t.Helper()
		claims(claim+" "+value, `{"sub":"alice","roles":["admin"],"`+claim+`":`+value+`}`, want)
	}

	// Shape.
	f("none", "", Missing)
	f("garbage", "garbage", Malformed)
	f("one space", " ", Malformed)
	f("two dots only", "..", Malformed)
	f("not ASCII", "ä.ö.ü", Malformed)
	f("100 kB", strings.Repeat("A", 100_000), TooLarge)
	f("100 kB, signed", sign(key, goodHeader, `{"sub":"alice","x":"`+strings.Repeat("A", 100_000)+`"}`), TooLarge)
	f("a megabyte of dots", strings.Repeat(".", 1<<20), TooLarge)
	f("one byte beyond the limit", strings.Repeat("A", maxToken+1), TooLarge)
	f("two parts", parts[0]+"."+parts[1], Malformed)
	f("four parts", good+".", Malformed)
	f("five parts, as JWE has", good+"."+parts[1]+"."+parts[2], Malformed)
	f("JSON serialization", `{"payload":"`+parts[1]+`","signatures":[]}`, Malformed)
	f("space before", " "+good, Malformed)
	f("line break after", good+"\n", Malformed)
	f("line break in the header", parts[0][:4]+"\n"+parts[0][4:]+"."+parts[1]+"."+parts[2], Malformed)
	f("line break in the claims", parts[0]+"."+parts[1][:4]+"\r\n"+parts[1][4:]+"."+parts[2], Malformed)
	f("line break in the signature", parts[0]+"."+parts[1]+"."+parts[2][:4]+"\n"+parts[2][4:], Malformed)
	f("tab inside", parts[0]+"."+parts[1]+"\t."+parts[2], Malformed)
	f("padded", parts[0]+"."+parts[1]+"."+parts[2]+"==", Malformed)
	f("NUL at the end", good+"\x00", Malformed)
	f("the scheme in front", "Bearer "+good, Malformed)
	f("two tokens joined by a comma", good+", "+good, Malformed)
	f("stray bits after the signature", good[:len(good)-1]+string(nextLetter(good[len(good)-1])), Malformed)
	f("no signature", parts[0]+"."+parts[1]+".", BadSignature)
	f("short signature", parts[0]+"."+parts[1]+"."+b64(strings.Repeat("\x00", 63)), BadSignature)
	f("long signature", parts[0]+"."+parts[1]+"."+b64(strings.Repeat("\x00", 65)), BadSignature)
	f("zero signature", parts[0]+"."+parts[1]+"."+b64(strings.Repeat("\x00", 64)), BadSignature)
	f("another token's signature", parts[0]+"."+b64(`{"sub":"mallory","roles":["admin"]}`)+"."+parts[2], BadSignature)
	f("wrong key", sign(newKey("somebody else"), goodHeader, goodClaims), BadSignature)

	// Algorithm.
	f("alg none, unsigned", b64(`{"alg":"none"}`)+"."+parts[1]+".", BadAlgorithm)
	for _, alg := range []string{
		`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"eddsa"`, `"EDDSA"`, `"EdDSA "`, `" EdDSA"`, `"ed25519"`, `"Ed448"`, `"HS256"`,
		`"ES256"`, `"RS256"`, `""`, `null`, `0`, `true`, `["EdDSA"]`, `{"EdDSA":1}`, `"EdDS\u0410"`, `"EdDSA\u0000"`,
	} {
		header("alg "+alg+" over an EdDSA signature", `{"alg":`+alg+`}`, BadAlgorithm)
	}
	header("no alg", `{"typ":"JWT"}`, BadAlgorithm)
	header("Alg is not alg", `{"Alg":"EdDSA"}`, BadAlgorithm)
	f("HS256 with the key raw", hs256(public), BadAlgorithm)
	f("HS256 with the key base64", hs256([]byte(base64.StdEncoding.EncodeToString(public))), BadAlgorithm)
	f("HS256 with the key DER", hs256(der), BadAlgorithm)
	f("HS256 with the key PEM", hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), BadAlgorithm)
	f("RS256", rs256(t), BadAlgorithm)

	// Header.
	header("empty", ``, Malformed)
	header("an array", `["EdDSA"]`, Malformed)
	header("a string", `"EdDSA"`, Malformed)
	header("null", `null`, Malformed)
	header("not JSON", `{alg:EdDSA}`, Malformed)
	header("cut off", `{"alg":"EdDSA"`, Malformed)
	header("alg twice", `{"alg":"none","alg":"EdDSA"}`, Malformed)
	header("alg twice, once escaped", `{"alg":"EdDSA","\u0061lg":"none"}`, Malformed)
	header("duplicate inside jwk", `{"alg":"EdDSA","jwk":{"kty":"OKP","kty":"oct"}}`, Malformed)
	header("data after it", `{"alg":"EdDSA"}{}`, Malformed)
	header("byte order mark", "\ufeff"+`{"alg":"EdDSA"}`, Malformed)
	header("not UTF-8", "{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}", Malformed)
	header("crit unknown", `{"alg":"EdDSA","crit":["x"],"x":1}`, UnsupportedCrit)
	header("crit exp", `{"alg":"EdDSA","crit":["exp"],"exp":1}`, UnsupportedCrit)
	header("crit empty", `{"alg":"EdDSA","crit":[]}`, UnsupportedCrit)
	header("crit null", `{"alg":"EdDSA","crit":null}`, UnsupportedCrit)
	header("crit b64", `{"alg":"EdDSA","crit":["b64"],"b64":false}`, UnsupportedCrit)
	header("b64 without crit", `{"alg":"EdDSA","b64":false}`, UnsupportedCrit)
	header("cty JWT", `{"alg":"EdDSA","cty":"JWT"}`, Malformed)
	header("cty jwt", `{"alg":"EdDSA","cty":"jwt"}`, Malformed)
	header("cty application/jwt", `{"alg":"EdDSA","cty":"application/jwt"}`, Malformed)
	header("cty not a string", `{"alg":"EdDSA","cty":["JWT"]}`, Malformed)

	// Claims as JSON.
	claims("a token in the token", good, Malformed)
	claims("empty", ``, Malformed)
	claims("an array", `[]`, Malformed)
	claims("a string", `"alice"`, Malformed)
	claims("a number", `1`, Malformed)
	claims("null", `null`, Malformed)
	claims("cut off", `{"sub":"alice"`, Malformed)
	claims("trailing comma", `{"sub":"alice",}`, Malformed)
	claims("a second object", `{"sub":"alice"}{"sub":"bob"}`, Malformed)
	claims("a letter after it", `{"sub":"alice"}x`, Malformed)
	claims("NUL after it", `{"sub":"alice"}`+"\x00", Malformed)
	claims("not UTF-8", "{\"sub\":\"al\xffice\"}", Malformed)
	claims("sub twice", `{"sub":"alice","sub":"bob"}`, Malformed)
	claims("roles twice", `{"sub":"alice","roles":["user"],"roles":["admin"]}`, Malformed)
	claims("roles twice, once escaped", `{"sub":"alice","roles":["user"],"role\u0073":["admin"]}`, Malformed)
	claims("exp twice", `{"sub":"alice","exp":1,"exp":1800000600}`, Malformed)
	claims("duplicate in an object", `{"sub":"alice","x":{"a":1,"a":2}}`, Malformed)
	claims("duplicate deep inside", `{"sub":"alice","x":[{"y":[{"a":1,"b":2,"a":3}]}]}`, Malformed)
	claims("arrays 1000 deep", `{"sub":"alice","x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`, Malformed)
	claims("objects 17 deep", strings.Repeat(`{"x":`, 17)+`1`+strings.Repeat("}", 17), Malformed)
	claims("brackets to the limit", strings.Repeat("[", 12_000), Malformed)
	claims("too many numbers", `{"sub":"alice","x":[`+strings.Repeat("0,", maxValues)+`0]}`, Malformed)
	claims("too many objects", `{"sub":"alice","x":[{}`+strings.Repeat(",{}", maxValues/2)+`]}`, Malformed)
	claims("a number beyond float64", `{"sub":"alice","exp":1e400}`, BadClaims)
	claims("a duplicate behind a string with quotes and colons", `{"sub":"alice","x":"\":\\","y":{"z":1,"z":1}}`, Malformed)

	// Subject, roles, projects and token id.
	claims("no claims", `{}`, BadClaims)
	claims("cc-metric-store's demo token has no sub", `{"user":"admin","roles":["ROLE_ADMIN"]}`, BadClaims)
	claims("sub empty", `{"sub":"","roles":["admin"]}`, BadClaims)
	claims("sub blank", `{"sub":" ","roles":["admin"]}`, BadClaims)
	claims("sub with a space before", `{"sub":" alice"}`, BadClaims)
	claims("sub null", `{"sub":null}`, BadClaims)
	claims("sub a number", `{"sub":1}`, BadClaims)
	claims("sub an array", `{"sub":["alice"]}`, BadClaims)
	claims("sub 257 bytes", `{"sub":"`+strings.Repeat("a", 257)+`"}`, BadClaims)
	claims("sub with a line break", `{"sub":"alice\nadmin"}`, BadClaims)
	claims("sub with NUL", `{"sub":"alice\u0000"}`, BadClaims)
	claims("sub with DEL", `{"sub":"alice\u007f"}`, BadClaims)
	claims("sub with a C1 control", `{"sub":"alice\u009b31m"}`, BadClaims)
	claims("sub right to left", `{"sub":"\u202eecila"}`, BadClaims)
	claims("sub with a zero-width space", `{"sub":"ali\u200bce"}`, BadClaims)
	claims("sub with half a surrogate", `{"sub":"alice\ud800"}`, BadClaims)
	for _, name := range []string{"Sub", "SUB", "ſub", "s\\u0323ub", "sub ", "ѕub"} {
		claims(name+" is not sub", `{"`+name+`":"alice","roles":["admin"]}`, BadClaims)
	}
	for _, claim := range []string{"roles", "projects"} {
		for _, value := range []string{`"admin"`, `"admin,user"`, `null`, `1`, `true`, `{"admin":true}`, `[["admin"]]`, `["admin",1]`, `["admin",null]`} {
			claims(claim+" "+value, `{"sub":"alice","`+claim+`":`+value+`}`, BadClaims)
		}
	}
	claims("project empty", `{"sub":"alice","projects":[""]}`, BadClaims)
	claims("project with a control", `{"sub":"alice","projects":["a\tb"]}`, BadClaims)
	claims("jti a number", `{"sub":"alice","jti":7}`, BadClaims)
	claims("jti null", `{"sub":"alice","jti":null}`, BadClaims)
	claims("jti long", `{"sub":"alice","jti":"`+strings.Repeat("a", 257)+`"}`, BadClaims)

	// Times. Now is 1800000000, and the leeway 30 s.
	for _, claim := range []string{"exp", "nbf", "iat"} {
		for _, value := range []string{
			`"1800000600"`, `""`, `null`, `true`, `[]`, `{}`, `-1`, `-0`, `-0.0`, `-1e-300`, `1e300`, `253402300800`,
			`1800000600000`, `9223372036854775808`, `99999999999999999999999999`,
			`1800000600.` + strings.Repeat("0", 64),
		} {
			date(claim, value, BadClaims)
		}
	}
	date("exp", `0`, Expired)
	date("exp", `0.0`, Expired)
	date("exp", `1e-400`, Expired)
	date("exp", `1`, Expired)
	date("exp", `1799999970`, Expired)
	date("exp", `1799999969.999`, Expired)
	date("nbf", `1800000031`, NotYetValid)
	date("nbf", `1800000030.5`, NotYetValid)
	date("nbf", `253402300799`, NotYetValid)
	date("iat", `1800000031`, IssuedInFuture)
	date("iat", `253402300799`, IssuedInFuture)
	claims("expired", `{"sub":"alice","exp":1}`, Expired)
}

// nextLetter flips the lowest bit of a base64 letter, which is padding at the end of a 64-byte
// signature.
func nextLetter(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

func TestGoodTokensAreAccepted(t *testing.T) {
	key := newKey("cc-backend")
	issuer := newIssuer(t, trust{}, newKey("the previous key"), key)

	f := func(header, claims, want string) {
		t.Helper()
		p, err := issuer.Authenticate(t.Context(), sign(key, header, claims))
		if err != nil {
			t.Errorf("%s.%s: %v", header, claims, err)
			return
		}
		expires := "never"
		if !p.Expires.IsZero() {
			expires = fmt.Sprint(p.Expires.Unix())
		}
		got := fmt.Sprintf("%s %s %q %q [%s] %q %s", p.Issuer, p.Subject, p.JobUser, p.TokenID, p.Roles, p.Projects, expires)
		if got != want || p.Clusters != nil {
			t.Errorf("%s.%s:\n got %s\nwant %s", header, claims, got, want)
		}
	}
	f(goodHeader, goodClaims, `jwt-public-key alice "alice" "" [user] [] 1800000600`)
	f(goodHeader, `{"sub":"api","roles":["api"],"iat":1799999990}`, `jwt-public-key api "api" "" [api] [] never`)
	f(goodHeader, `{"sub":"m","roles":["manager","user"],"projects":["p1","p2"],"jti":"j"}`, `jwt-public-key m "m" "j" [manager,user] ["p1" "p2"] never`)
	f(goodHeader, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","roles":[]}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","x":"\":{[,\\","y":{"sub":"b","y":{}},"z:":[{"z":1},{"z":2}]}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, "\t{ \"sub\" : \"a\" }\n", `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"Jürgen Groß","aud":7,"name":{"values":["x"]}}`, `jwt-public-key Jürgen Groß "Jürgen Groß" "" [] [] never`)
	f(goodHeader, `{"sub":"`+strings.Repeat("a", 256)+`"}`, `jwt-public-key `+strings.Repeat("a", 256)+` "`+strings.Repeat("a", 256)+`" "" [] [] never`)

	// Roles are case-sensitive, as are claim names; unknown roles are ignored.
	f(goodHeader, `{"sub":"a","roles":["admin","admin","root",""]}`, `jwt-public-key a "a" "" [admin] [] never`)
	f(goodHeader, `{"sub":"a","roles":["Admin","ADMIN","admin ","\u0430dmin","admın"]}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","Roles":["admin"],"ROLES":["admin"],"roleſ":["admin"],"ｒoles":["admin"]}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","Roles":["admin"],"roles":["user"],"ROLES":["api"]}`, `jwt-public-key a "a" "" [user] [] never`)
	f(goodHeader, `{"Sub":"root","sub":"a","SUB":"root"}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","Exp":1,"EXP":1,"Nbf":9999999999}`, `jwt-public-key a "a" "" [] [] never`)

	// Headers that issuers send and that have no effect.
	f(`{"alg":"Ed25519"}`, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`) // RFC 9864
	f(`{"alg":"EdDSA"}`, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`)
	f(`{"alg":"EdDSA","typ":"at+jwt","kid":"../../etc/passwd"}`, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`)
	f(`{"alg":"EdDSA","jku":"http://evil/","x5u":"http://evil/","x5c":["MII"],"jwk":{"kty":"oct","k":"AA"}}`, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`)
	f(`{"alg":"EdDSA","cty":"text/plain"}`, `{"sub":"a"}`, `jwt-public-key a "a" "" [] [] never`)

	// Times at the limit of the leeway, and every notation that RFC 7519 permits.
	f(goodHeader, `{"sub":"a","exp":1799999971}`, `jwt-public-key a "a" "" [] [] 1799999971`)
	f(goodHeader, `{"sub":"a","exp":1799999970.5}`, `jwt-public-key a "a" "" [] [] 1799999970`)
	f(goodHeader, `{"sub":"a","exp":1.8000006e9}`, `jwt-public-key a "a" "" [] [] 1800000600`)
	f(goodHeader, `{"sub":"a","exp":253402300799}`, `jwt-public-key a "a" "" [] [] 253402300799`)
	f(goodHeader, `{"sub":"a","nbf":1800000030,"iat":1800000030}`, `jwt-public-key a "a" "" [] [] never`)
	f(goodHeader, `{"sub":"a","nbf":0,"iat":0}`, `jwt-public-key a "a" "" [] [] never`)
}

// A token of the maximum length and depth is accepted.
func TestLimitsAreInclusive(t *testing.T) {
	key := newKey("cc-backend")
	issuer := newIssuer(t, trust{}, key)
	claims := `{"sub":"a","x":` + strings.Repeat("[", object.MaxDepth-1) + strings.Repeat("]", object.MaxDepth-1) + `,"y":""}`
	available := maxToken - len(sign(key, goodHeader, claims))
	claims = strings.Replace(claims, `"y":""`, `"y":"`+strings.Repeat("a", available/4*3)+`"`, 1)
	token := sign(key, goodHeader, claims)
	if len(token) < maxToken-4 || len(token) > maxToken {
		t.Fatalf("the token has %d bytes", len(token))
	}
	if _, err := issuer.Authenticate(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestTruncatedTokensAreRefused(t *testing.T) {
	key := newKey("cc-backend")
	issuer := newIssuer(t, trust{}, key)
	good := sign(key, goodHeader, goodClaims)
	for n := range len(good) {
		switch _, err := issuer.Authenticate(t.Context(), good[:n]); code(err) {
		case Missing, Malformed, BadSignature:
		default:
			t.Errorf("the first %d bytes of %d: %v", n, len(good), err)
		}
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	key := newKey("cc-backend")
	issuer := newIssuer(t, trust{}, key)
	good := sign(key, goodHeader, goodClaims)
	for i := range len(good) {
		for bit := range 8 {
			bad := []byte(good)
			bad[i] ^= 1 << bit
			if p, err := issuer.Authenticate(t.Context(), string(bad)); err == nil {
				t.Errorf("byte %d, bit %d: accepted as %+v", i, bit, p)
			}
		}
	}
}
