package auth_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// signedInOn opens a session and returns how to make tokens of it, as package link does; each number gives another one.
func signedInOn(b *testing.B, h house) (token func(number int) string) {
	b.Helper()
	h.register(b, "ada@example.com", "correct horse")
	identity, err := h.signIn(b.Context(), "ada@example.com", "correct horse")
	if err != nil {
		b.Fatal(err)
	}
	session, err := h.OpenSession(b.Context(), identity, "user", auth.Client{UserAgent: "benchmark", IP: "127.0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	return func(number int) string {
		user := "user_" + strings.Repeat("0", 20) + strconv.Itoa(100_000+number)
		token, err := h.Token(session, identity, auth.Actor{ID: user, Metadata: map[string]any{
			"user_id": user, "roles": []string{"admin", "member"},
		}})
		if err != nil {
			b.Fatal(err)
		}
		return token
	}
}

// signatureAndJSON is the least that a check of the token can be: its signature, and its claims read from their JSON.
// What a token must be taken apart and decoded for is done beforehand.
func signatureAndJSON(b *testing.B, token, algorithm string, s *auth.Service) func() {
	b.Helper()
	signed := token[:strings.LastIndexByte(token, '.')]
	decode := func(segment string) []byte {
		data, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	claims, signature := decode(signed[strings.IndexByte(signed, '.')+1:]), decode(token[len(signed)+1:])
	var good func() bool
	if algorithm == auth.AlgEdDSA {
		public := ed25519.PublicKey(decode(s.PublicKeys()[0].X))
		good = func() bool { return ed25519.Verify(public, []byte(signed), signature) }
	} else {
		key := ring(b, secret(1)).Keys(keyring.AccessToken)[0].Bytes
		good = func() bool {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(signed))
			return hmac.Equal(mac.Sum(nil), signature)
		}
	}
	return func() {
		var c auth.Claims
		if !good() || json.Unmarshal(claims, &c) != nil || c.Use != "access" {
			b.Fatal("the limit of the benchmark does not check the token")
		}
	}
}

// BenchmarkTokenWithoutSession is what verifying an access token costs, beside its signature check and the reading of its
// claims.
func BenchmarkTokenWithoutSession(b *testing.B) {
	for _, algorithm := range []string{auth.AlgEdDSA, auth.AlgHS256} {
		b.Run(algorithm, func(b *testing.B) {
			h := onSQLite(b, auth.Options{Algorithm: algorithm})
			token := signedInOn(b, h)(0)
			verify := func() {
				if _, err := auth.VerifyToken(h.Service, token); err != nil {
					b.Fatal(err)
				}
			}
			limit := signatureAndJSON(b, token, algorithm, h.Service)
			costs := benchtest.Interleave(b, benchtest.Subject{Do: times(verify)}, benchtest.Subject{Do: times(limit)})
			report(b, costs[0], testing.AllocsPerRun(100, verify))
			b.ReportMetric(costs[0].Over(costs[1]), "x_signature+json")
		})
	}
}

// BenchmarkTokenWithSession is a whole check: of a token that was seen within the second beside the look-up of a key of
// its length, and of one that was not beside verifying it.
func BenchmarkTokenWithSession(b *testing.B) {
	b.Run("seen", func(b *testing.B) {
		h := onSQLite(b, auth.Options{})
		token := signedInOn(b, h)(0)
		check := func() {
			if _, _, err := h.CheckToken(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
		var lock sync.RWMutex
		known := map[string]bool{token: true}
		limit := func() {
			lock.RLock()
			defer lock.RUnlock()
			if !known[token] {
				b.Fatal("the limit of the benchmark does not find the token")
			}
		}
		costs := benchtest.Interleave(b, benchtest.Subject{Do: times(check)}, benchtest.Subject{Do: times(limit)})
		report(b, costs[0], testing.AllocsPerRun(100, check))
		b.ReportMetric(costs[0].Over(costs[1]), "x_look-up")
	})
	b.Run("unseen", func(b *testing.B) {
		databases(b, func(b *testing.B, h house) {
			var tokens []string
			token, next := signedInOn(b, h), 0
			fresh := func(n int) {
				tokens = tokens[:0]
				for range n {
					tokens = append(tokens, token(next))
					next++
				}
			}
			each := func(check func(token string) error) func(int) {
				return func(int) {
					for _, t := range tokens {
						if err := check(t); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			costs := benchtest.Interleave(b,
				benchtest.Subject{Prepare: fresh, Do: each(func(t string) error { _, _, err := h.CheckToken(b.Context(), t); return err })},
				benchtest.Subject{Prepare: fresh, Do: each(func(t string) error { _, err := auth.VerifyToken(h.Service, t); return err })})
			b.ReportMetric(float64(costs[0].Wall), "ns/op")
			b.ReportMetric(costs[0].Over(costs[1]), "x_without_session")
		})
	})
}

// databases is each for a benchmark.
func databases(b *testing.B, f func(b *testing.B, h house)) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		f(b, newHouse(b, at.Open(b, auth.Migrations()), auth.Options{}))
	})
}

func times(f func()) func(int) {
	return func(n int) {
		for range n {
			f()
		}
	}
}

func report(b *testing.B, c benchtest.Cost, allocs float64) {
	b.ReportMetric(float64(c.Wall), "ns/op")
	b.ReportMetric(allocs, "allocs") // not allocs/op, which counts the limit too
}
