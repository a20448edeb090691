package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

const (
	ascii   = "correct horse"
	unicode = "pässword – 漢字 🐎"
)

// legacyHashes were made by other implementations than the ones that verify them here, with cheap parameters:
//
//   - libxcrypt 4.4.33 by Python's crypt.crypt(password, "$2b$05$abcdefghijklmnopqrstuu")
//   - Python 3.11's hashlib.pbkdf2_hmac("sha256", password, b"saltOfDjango", 1200), in Django's form
//   - Node 20's crypto.scryptSync(password, salt, 32, {N: 64, r: 8, p: 2}) and crypto.pbkdf2Sync(password, salt, 1200, 32,
//     "sha256"), of OpenSSL, in the forms of passlib and PHC; salts are 0123456789abcdef and, for the letters + and / of
//     base64, fbffbefa01020304fafbfcfdfeffefbf in hexadecimal
//   - npm hash-wasm 4.12's bcrypt and argon2id; Debian's argon2 20171227: argon2 0123456789abcdef -id -t 3 -k 256 -p 1 -e
//   - npm scrypt-kdf 3, which Medusa uses: kdf(password, {logN: 6, r: 8, p: 1}) in base64
var legacyHashes = map[string]struct{ password, hash string }{
	"bcrypt 2a":                      {ascii, "$2a$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"},
	"bcrypt 2b":                      {ascii, "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"},
	"bcrypt 2y":                      {unicode, "$2y$05$abcdefghijklmnopqrstuu/7680r9SLXVQt.WJ/tEBhfp.bqUpcfO"},
	"bcrypt of hash-wasm":            {unicode, "$2a$05$KBCwKxOzLha2MUDgW0PjXehNYLj.zBtMtUvmCbpf5JvcNPUfxqeMW"},
	"bcrypt of 72 bytes":             {strings.Repeat("x", 72), "$2b$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"},
	"bcrypt by Django":               {ascii, "bcrypt$$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"},
	"argon2id":                       {ascii, "$argon2id$v=19$m=256,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cKFEcEsTnuKNbVWflPEkxuOmu4SRKQLgBDfO128ed1E"},
	"argon2id of two lanes":          {ascii, "$argon2id$v=19$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$ehqGRlXhNY90u1mXokuaGpor9OaG4WSZVb4jCfev4ys"},
	"argon2id by Django":             {unicode, "argon2$argon2id$v=19$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Ho8v6F8T0Eyg09g+/30o9BWf62+lTf5dQBSyirx3+ns"},
	"scrypt":                         {ascii, "$scrypt$ln=6,r=8,p=2$MDEyMzQ1Njc4OWFiY2RlZg$8SuY8NUOjwvkMqfWWt1Fk1QWYAT+WtMR2my0rk8ZanI"},
	"scrypt, + and / in salt":        {unicode, "$scrypt$ln=6,r=8,p=2$+/+++gECAwT6+/z9/v/vvw$apbJpF/7dBxZNxtlf7VTuoRfuqyGWUHTJXyUBRGBbLg"},
	"pbkdf2-sha256 of passlib":       {ascii, "$pbkdf2-sha256$1200$MDEyMzQ1Njc4OWFiY2RlZg$aCG4tQGUV.nhBFCGnfDHLhxUG3YEIh8hLILMSPQCWow"},
	"pbkdf2-sha256, . and / in salt": {unicode, "$pbkdf2-sha256$1200$./...gECAwT6./z9/v/vvw$VLagssXVdATPQJFA/wBlBc/jx/21OUDGt3etLw8tAlU"},
	"pbkdf2-sha512 of passlib":       {ascii, "$pbkdf2-sha512$1200$MDEyMzQ1Njc4OWFiY2RlZg$t2Ieqkr6V4kqOGnU77hNyviB15QzN7ZHTHjFOaCSunebXBIrpENNzz6iHaY.LeI0qjz5FvyJPUn5kC3nLijplQ"},
	"pbkdf2-sha256 of PHC":           {unicode, "$pbkdf2-sha256$i=1200,l=32$MDEyMzQ1Njc4OWFiY2RlZg$vb76XPkkH+A2vRF+M0vHCsNkUUZxY+JqcHUGBcR5V+8"},
	"pbkdf2_sha256 of Django":        {ascii, "pbkdf2_sha256$1200$saltOfDjango$jNX0nPT7QcJQIaZdBHA6DKOqfkmekMQbvo01xd5kbyg="},
	"pbkdf2_sha512 of Django":        {unicode, "pbkdf2_sha512$1200$saltOfDjango$K87a6vlemyv6sSKNGy5yJgDgfae8p1KkqnD98fhZmLEgxlWvjWfWLfro9chyYp51CwZLZXBgjC4fuqFrhEM2mQ=="},
	"Medusa's scrypt-kdf":            {ascii, medusaHash},
	"Medusa's, not ASCII":            {unicode, "c2NyeXB0AAYAAAAIAAAAAWR3O0k7ObJhKE73BmDXg4aWngNpskhLSRRhQFAfsoZFV5pMZJ/IN19vaBIFeBhQkn24hgK5v4g2ZZlPWS2aohlalu9VfVC7OVw15J0UHwlK"},
	"Medusa's, as configured there":  {ascii, "c2NyeXB0AA8AAAAIAAAAAcqb6WLGwzJ9Rb8+pBVwZ0qgVQsA1jrj+nsc7xBI4826wU9Zlo+vKPEar8fmkJ25aj0cpUTzBfiMBRu/L8zsUW0QEjEbKnmCoucNbtohPc9q"},
}

const medusaHash = "c2NyeXB0AAYAAAAIAAAAAahsGSYdPCtUHpEqa0P/fERO/tgr88EGO4KjNiXrZCoI6Ynk6wlTDFv1tQNnzD/ie9q5DVwqKNgNGbBUsHH2ab8m8Q0g7A3JUy3j+u0Z+F/u"

func TestAHashOfAnotherProgramFitsItsPasswordAloneAndIsStale(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 4, MaxWait: time.Minute})
	for name, c := range legacyHashes {
		if err := auth.CheckPasswordHash([]byte(c.hash)); err != nil {
			t.Errorf("%s: cannot be imported: %v", name, err)
		}
		for password, want := range map[string]bool{
			c.password: true, c.password + " ": false, strings.ToUpper(c.password): false, "": false, c.password + "\x00": false,
			c.password + "\x00" + c.password: false, c.password[1:]: false,
		} {
			if ok, stale, err := h.Verify(t.Context(), []byte(c.hash), password); ok != want || stale != want || err != nil {
				t.Errorf("%s with %q: fits %t, stale %t, %v; want %t", name, password, ok, stale, err, want)
			}
		}
	}
}

func TestALongerPasswordDoesNotFitTheBcryptHashOfItsBeginning(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 4, MaxWait: time.Minute})
	for password, hash := range map[string]string{
		strings.Repeat("x", 72) + "more": "$2b$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q", // libxcrypt made it of all 76
		"q\x00q":                         "$2b$05$abcdefghijklmnopqrstuuMFdK5uK3hjI2eonbGNcqDgBCXiiEENO", // of q
	} {
		if ok, _, err := h.Verify(t.Context(), []byte(hash), password); ok || err != nil {
			t.Errorf("%q: fits %t, %v", password, ok, err)
		}
	}
}

// medusa is a hash of scrypt-kdf with other parameters, and a right checksum.
func medusa(logN byte, r, p uint32) string {
	b, err := base64.StdEncoding.DecodeString(medusaHash)
	if err != nil {
		panic(err)
	}
	b[7] = logN
	binary.BigEndian.PutUint32(b[8:], r)
	binary.BigEndian.PutUint32(b[12:], p)
	sum := sha256.Sum256(b[:48])
	copy(b[48:], sum[:16])
	return base64.StdEncoding.EncodeToString(b)
}

// Each of these is of a known form and would cost too much, or cannot be read. It is refused before anything is allocated:
// the worst of them ask for terabytes.
func TestAHashOfOursThatIsDamagedOrTooDearIsNotImported(t *testing.T) {
	for name, hash := range map[string]string{
		"of cost 31": "$hb1$AAAAAAAA$$2a$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"cut":        "$hb1$AAAAAAAA$$2a$04$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs",
		"no pepper":  "$hb1$",
	} {
		if err := auth.CheckPasswordHash([]byte(hash)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheParametersOfAHashOfAnotherProgramAreBounded(t *testing.T) {
	const salt, sum = "MDEyMzQ1Njc4OWFiY2RlZg", "cKFEcEsTnuKNbVWflPEkxuOmu4SRKQLgBDfO128ed1E"
	const huge = "99999999999999999999"
	bad := map[string]string{
		"bcrypt of cost 16":    "$2b$16$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"bcrypt of cost 31":    "$2b$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"bcrypt of cost 99":    "$2b$99$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"bcrypt, cut":          "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs",
		"bcrypt, longer":       "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2x",
		"pbkdf2 of 4,000,001":  "pbkdf2_sha256$4000001$salt$" + sum,
		"pbkdf2 of 0":          "pbkdf2_sha256$0$salt$" + sum,
		"pbkdf2 of -1":         "pbkdf2_sha256$-1$salt$" + sum,
		"pbkdf2 of a word":     "pbkdf2_sha256$many$salt$" + sum,
		"pbkdf2, no salt":      "pbkdf2_sha256$1200$$" + sum,
		"pbkdf2, a short sum":  "pbkdf2_sha256$1200$salt$cKFE",
		"pbkdf2, a long sum":   "pbkdf2_sha512$1200$salt$" + strings.Repeat("A", 100),
		"pbkdf2, no base64":    "pbkdf2_sha256$1200$salt$****************************",
		"pbkdf2, a long salt":  "pbkdf2_sha256$1200$" + strings.Repeat("s", 65) + "$" + sum,
		"pbkdf2 of PHC, no i":  "$pbkdf2-sha256$l=32$" + salt + "$" + sum,
		"argon2 of version 16": "$argon2id$v=16$m=64,t=2,p=1$" + salt + "$" + sum,
		"argon2, twice m":      "$argon2id$v=19$m=64,m=64,t=2,p=1$" + salt + "$" + sum,
		"argon2, cut":          "$argon2id$v=19$m=64,t=2,p=1$" + salt,
		"argon2, empty sum":    "$argon2id$v=19$m=64,t=2,p=1$" + salt + "$",
		"scrypt, cut":          "$scrypt$ln=6,r=8,p=1$" + salt,
		"scrypt, no ln":        "$scrypt$r=8,p=1$" + salt + "$" + sum,
		"Medusa's, cut":        medusaHash[:100],
		"Medusa's, damaged":    medusaHash[:30] + "A" + medusaHash[31:],
		"Medusa's, longer":     medusaHash + "AAAA",
	}
	for _, p := range []string{"m=262145,t=1,p=1", "m=4294967295,t=1,p=1", "m=65536,t=17,p=1", "m=64,t=0,p=1", "m=64,t=1,p=0", "m=64,t=1,p=17",
		"m=7,t=1,p=1", "m=15,t=1,p=2", "m=" + huge + ",t=1,p=1", "m=64,t=" + huge + ",p=1", "t=1,p=1", "m=64,t=1073741823,p=1"} {
		bad["argon2 of "+p] = "$argon2id$v=19$" + p + "$" + salt + "$" + sum
	}
	for _, p := range []string{"ln=0,r=8,p=1", "ln=31,r=1,p=1", "ln=63,r=8,p=1", "ln=64,r=8,p=1", "ln=19,r=8,p=1", "ln=10,r=65,p=1", "ln=10,r=0,p=1",
		"ln=10,r=8,p=0", "ln=10,r=8,p=17", "ln=18,r=8,p=3", "ln=10,r=" + huge + ",p=1", "ln=-1,r=8,p=1"} {
		bad["scrypt of "+p] = "$scrypt$" + p + "$" + salt + "$" + sum
	}
	for _, p := range []struct {
		logN byte
		r, p uint32
	}{{0, 8, 1}, {19, 8, 1}, {31, 1, 1}, {63, 8, 1}, {64, 8, 1}, {255, 8, 1}, {15, 1 << 31, 1}, {15, 8, 1 << 31}, {15, 0, 1}, {15, 8, 0}, {15, 1<<32 - 1, 1<<32 - 1}} {
		bad[fmt.Sprintf("Medusa's of %v", p)] = medusa(p.logN, p.r, p.p)
	}
	if err := auth.CheckPasswordHash([]byte(medusa(6, 8, 1))); err != nil {
		t.Fatalf("the hash that the bad ones are made from: %v", err)
	}
	var log bytes.Buffer
	h, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}})
	must(t, err)
	for name, hash := range bad {
		log.Reset()
		ok, stale, err := h.Verify(t.Context(), []byte(hash), ascii)
		if ok || stale || err != nil {
			t.Errorf("%s: fits %t, stale %t, %v; want what a wrong password gets", name, ok, stale, err)
		}
		if said := log.String(); !strings.Contains(said, "level=ERROR") || strings.Contains(said, sum) || strings.Contains(said, ascii) {
			t.Errorf("%s: the log says %q, want an error without the hash", name, said)
		}
		if err := auth.CheckPasswordHash([]byte(hash)); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), sum) {
			t.Errorf("%s can be imported: %v", name, err)
		}
	}
	for name, bound := range map[string]string{
		"bcrypt of cost 16": "15", "pbkdf2 of 4,000,001": "4000000", "argon2 of m=262145,t=1,p=1": "262144", "argon2 of m=65536,t=17,p=1": "1 to 16 ",
		"argon2 of m=64,t=1,p=17": "1 to 16", "argon2 of m=7,t=1,p=1": "8 (8 times p)", "scrypt of ln=19,r=8,p=1": "262144", "scrypt of ln=18,r=8,p=3": "4194304",
		"scrypt of ln=10,r=65,p=1": "1 to 64", "scrypt of ln=10,r=8,p=17": "1 to 16", "pbkdf2, a long salt": "1 to 64 bytes", "argon2, empty sum": "16 to 64",
	} {
		if err := auth.CheckPasswordHash([]byte(bad[name])); err == nil || !strings.Contains(err.Error(), bound) {
			t.Errorf("%s: %v, want the bound %s", name, err, bound)
		}
	}
	for _, none := range []string{"", "plain", "$", "$$$$", "$1$abc$def", "{SSHA}abcdefgh", "$2x$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2", strings.Repeat("$2b$", 200)} {
		if err := auth.CheckPasswordHash([]byte(none)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.20q can be imported: %v", none, err)
		}
	}
}

func TestAnImportedHashLetsInAndIsReplacedAtTheFirstSignIn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for name, c := range legacyHashes {
			address := base64.RawURLEncoding.EncodeToString([]byte(name)) + "@example.com"
			made, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
				{Provider: emailpass.Name, EntityID: address, Email: address, EmailVerified: true, Secret: []byte(c.hash)}}})
			must(t, err)
			kept := func() string {
				var hash []byte
				must(t, h.db.Conn(t.Context()).NewSelect().Table("latchkey_provider_identity").Column("secret").Where("auth_identity_id = ?", made[0].ID).Scan(t.Context(), &hash))
				return string(hash)
			}
			if _, err := h.signIn(t.Context(), address, c.password+"!"); !errors.Is(err, auth.ErrInvalidCredentials) || kept() != c.hash {
				t.Errorf("%s: a wrong password: %v, and %q is kept", name, err, kept())
			}
			for range 2 {
				if i, err := h.signIn(t.Context(), address, c.password); err != nil || i.ID != made[0].ID {
					t.Fatalf("%s: %v", name, err)
				}
				if !strings.HasPrefix(kept(), "$hb1$") {
					t.Errorf("%s: after a sign-in %q is kept", name, kept())
				}
			}
		}
	})
}

func TestSignInsAtOnceAllSucceedWhileAnImportedHashIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		_, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
			{Provider: emailpass.Name, EntityID: "ada@example.com", Secret: []byte(medusaHash)}}})
		must(t, err)
		for i, err := range databasetest.Together(20, func(int) error { _, err := h.signIn(t.Context(), "ada@example.com", ascii); return err }) {
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
	})
}

func TestAHashThatNobodyCanReadIsNotImported(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for _, hash := range []string{"plain text", "$2b$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"} {
			_, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
				{Provider: emailpass.Name, EntityID: "ada@example.com", Secret: []byte(hash)}}})
			if !errors.Is(err, auth.ErrInvalid) || strings.Contains(err.Error(), hash) {
				t.Errorf("%q: %v", hash, err)
			}
		}
		if n := h.count(t, "auth_identity"); n != 0 {
			t.Errorf("%d identities were made", n)
		}
	})
}

// A hash that is cheaper than the configured cost must not tell that an account was imported, nor that there is one.
func TestAWrongPasswordForAnImportedHashCostsWhatAnUnknownAccountCosts(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 8, MaxWait: time.Minute})
	quickest := map[string]time.Duration{}
	cheap := []string{"bcrypt 2b", "argon2id", "scrypt", "pbkdf2_sha256 of Django", "Medusa's scrypt-kdf"}
	for range 8 { // in turns; the first ones teach the pool what a hash takes
		for _, name := range append([]string{"unknown"}, cheap...) {
			var hash []byte
			if name != "unknown" {
				hash = []byte(legacyHashes[name].hash)
			}
			start := time.Now()
			if ok, _, err := h.Verify(t.Context(), hash, "battery staple"); ok || err != nil {
				t.Fatalf("%s: %t, %v", name, ok, err)
			}
			if took, before := time.Since(start), quickest[name]; before == 0 || took < before {
				quickest[name] = took
			}
		}
	}
	for name, took := range quickest {
		if unknown := quickest["unknown"]; took < unknown/3 || took > unknown*3 {
			t.Errorf("%s takes %v, an unknown account %v: want about the same", name, took, unknown)
		}
	}
}
