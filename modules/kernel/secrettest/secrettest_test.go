package secrettest_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func TestSecretsAreFoundAndNothingElse(t *testing.T) {
	for line, want := range map[string]int{
		`{"level":"INFO","msg":"request","path":"/auth/session"}`:                     0,
		`level=INFO msg="token of eyJ"`:                                               0,
		`level=INFO msg=opened url=postgres://latchkey:xxxxx@127.0.0.1/latchkey`:      0,
		`level=INFO msg=sent to=ada@example.com url=http://127.0.0.1:9000/a@b`:        0,
		`level=INFO msg=opened url=postgres://latchkey:hunter2@127.0.0.1/latchkey`:    1,
		`level=INFO token=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln`:                   1,
		`{"msg":"x","hash":"$hb1$abc$2a$04$abc"}`:                                     1,
		`{"msg":"x","hash":"$2b$12$abc"}`:                                             1,
		`panic: Correct Horse`:                                                        1,
		"fine\nlevel=WARN password=\"battery staple\"\nfine again":                    1,
		`eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln of somebody with "correct horse"`:   2,
		`{"msg":"request","path":"/.well-known/jwks.json","status":200,"ip":"::1:x"}`: 0,
	} {
		if got := secrettest.Find(line); len(got) != want {
			t.Errorf("%s: %q, want %d", line, got, want)
		}
	}
}

func TestKnownSecretsAreFoundInEveryForm(t *testing.T) {
	s := secrettest.Secrets{"the password": `a "b" c/ü`, "none": ""}
	for _, text := range []string{
		`a "b" c/ü`, `{"x":"a \"b\" c/ü"}`, `q=a+%22b%22+c%2F%C3%BC`, `/a%20%22b%22%20c%2F%C3%BC`, `612022622220632fc3bc`, `YSAiYiIgYy/DvA==`, `YSAiYiIgYy_DvA`,
	} {
		if got := s.In("before " + text + " after"); len(got) != 1 || got[0] != "the password" {
			t.Errorf("in %s: %q", text, got)
		}
	}
	if got := s.In(`a "b" c`); len(got) != 0 {
		t.Errorf("found %q in what is none", got)
	}
}
