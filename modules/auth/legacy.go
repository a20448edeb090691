package auth

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// What a hash from elsewhere may ask for. Its parameters come from a row, so they are held against these before anything
// is allocated: one row must not take the memory of the machine, or a slot of the pool for minutes. The bounds leave room
// for what is recommended anywhere (bcrypt 10 to 14, argon2id of 64 MiB, scrypt of N=2^17, PBKDF2 of 600,000 rounds).
const (
	maxLegacyCost   = 15        // bcrypt
	maxLegacyMemory = 256 << 20 // bytes of argon2id and scrypt, for each slot of the pool
	maxArgonWork    = 1 << 20   // KiB of memory times passes
	maxScryptWork   = 1 << 22   // N times r times p
	maxBlock        = 64        // r of scrypt
	maxRounds       = 4_000_000 // PBKDF2
	maxLanes        = 16        // parallelism of argon2id and scrypt
	maxSalt         = 64
	minSum, maxSum  = 16, 64
	maxLegacyHash   = 512 // length of the text
)

// legacy is a hash that another program made, ready to be compared with a password. What is in it is within the bounds.
type legacy struct {
	fits func(password string) (bool, error)
	cost int // of bcrypt; 0: it is none
}

var errSaltOrSum = fmt.Errorf("its salt is not of 1 to %d bytes, or its sum not of %d to %d", maxSalt, minSum, maxSum)

// errNotLegacy is about a text in none of the forms that are known.
var errNotLegacy = errors.New("its form is not known")

// CheckPasswordHash says whether a hash can be imported: whether it is one of Passwords.Hash, or one of another program in
// a form that Passwords.Verify knows, with parameters that are not beyond all reason. The error never repeats the hash.
func CheckPasswordHash(hash []byte) error {
	_, err := parseLegacy(hash)
	if _, bare, own := cutOwn(hash); own {
		err = checkOwn(bare, maxLegacyCost) // whether its pepper is here, Verify says
	}
	if err != nil {
		return ErrInvalid.Msg("A password hash cannot be used: %s.", err)
	}
	return nil
}

// parseLegacy reads a hash of another program:
//
//	$2a$ $2b$ $2y$                          bcrypt
//	$argon2id$v=19$m=,t=,p=$salt$sum        argon2id
//	$scrypt$ln=,r=,p=$salt$sum              scrypt, as in PHC's format and as passlib writes it
//	$pbkdf2-sha256$rounds$salt$sum          PBKDF2 as passlib writes it, and $i=rounds$ as in PHC's; also -sha512
//	pbkdf2_sha256$rounds$salt$sum           PBKDF2 as Django writes it; also _sha512
//	argon2$argon2id$…  bcrypt$$2b$…         the same again, as Django writes them
//	c2NyeXB0A…                              scrypt-kdf in base64, as Medusa writes it
//
// errNotLegacy: it is none of these.
func parseLegacy(stored []byte) (legacy, error) {
	text := string(stored)
	if len(text) > maxLegacyHash {
		return legacy{}, errNotLegacy
	}
	for _, django := range []string{"argon2$argon2id$", "bcrypt$$2"} {
		if strings.HasPrefix(text, django) {
			_, text, _ = strings.Cut(text, "$")
			text = "$" + strings.TrimPrefix(text, "$")
		}
	}
	fields := strings.Split(text, "$")
	switch {
	case strings.HasPrefix(text, "c2NyeXB0A"): // scrypt and a zero byte
		return parseScryptKDF(text)
	case len(fields) == 4 && (fields[0] == "pbkdf2_sha256" || fields[0] == "pbkdf2_sha512"):
		return parsePBKDF2(strings.TrimPrefix(fields[0], "pbkdf2_"), fields[1], []byte(fields[2]), fields[3])
	case len(fields) < 4 || fields[0] != "":
		return legacy{}, errNotLegacy
	}
	switch name := fields[1]; name {
	case "2a", "2b", "2y":
		return parseBcrypt(text)
	case "argon2id":
		return parseArgon2(fields[2:])
	case "scrypt":
		return parseScrypt(fields[2:])
	case "pbkdf2-sha256", "pbkdf2-sha512":
		if len(fields) != 5 {
			return legacy{}, errNotLegacy
		}
		salt, err := decoded(fields[3])
		if err != nil {
			return legacy{}, err
		}
		rounds := fields[2]
		if p, err := parameters(rounds); err == nil {
			rounds = p["i"]
		}
		return parsePBKDF2(strings.TrimPrefix(name, "pbkdf2-"), rounds, salt, fields[4])
	}
	return legacy{}, errNotLegacy
}

func parseBcrypt(text string) (legacy, error) {
	hash := []byte(text)
	cost, err := bcrypt.Cost(hash)
	switch {
	case err != nil || len(hash) != 60:
		return legacy{}, errors.New("it is no whole bcrypt hash")
	case cost > maxLegacyCost:
		return legacy{}, fmt.Errorf("bcrypt of cost %d is more than %d", cost, maxLegacyCost)
	}
	return legacy{cost: cost, fits: func(password string) (bool, error) {
		err := bcrypt.CompareHashAndPassword(hash, []byte(password[:min(len(password), 72)]))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil && len(password) <= 72, err // bcrypt looks at no more, so that anything would do for the rest
	}}, nil
}

func parseArgon2(fields []string) (legacy, error) {
	if len(fields) != 4 || fields[0] != "v=19" {
		return legacy{}, errors.New("argon2id of another version than 19, or not whole")
	}
	p, err := parameters(fields[1])
	if err != nil {
		return legacy{}, err
	}
	m, t, lanes := number(p["m"]), number(p["t"]), number(p["p"])
	salt, sum, err := saltAndSum(fields[2], fields[3])
	switch {
	case err != nil:
		return legacy{}, err
	case lanes < 1 || lanes > maxLanes:
		return legacy{}, fmt.Errorf("argon2id with a p that is not 1 to %d", maxLanes)
	case m < 8*lanes || m > maxLegacyMemory>>10:
		return legacy{}, fmt.Errorf("argon2id with an m that is not %d (8 times p) to %d", 8*lanes, maxLegacyMemory>>10)
	case t < 1 || t > maxArgonWork || m*t > maxArgonWork:
		return legacy{}, fmt.Errorf("argon2id with a t that is not 1 to %d (m times t is at most %d)", maxArgonWork/m, maxArgonWork)
	}
	return comparing(sum, func(password string) ([]byte, error) {
		return argon2.IDKey([]byte(password), salt, uint32(t), uint32(m), uint8(lanes), uint32(len(sum))), nil //nolint:gosec // G115: bounded above
	}), nil
}

func parseScrypt(fields []string) (legacy, error) {
	if len(fields) != 3 {
		return legacy{}, errors.New("it is no whole scrypt hash")
	}
	p, err := parameters(fields[0])
	if err != nil {
		return legacy{}, err
	}
	ln, r, lanes := number(p["ln"]), number(p["r"]), number(p["p"])
	salt, sum, err := saltAndSum(fields[1], fields[2])
	if err == nil {
		err = checkScrypt(ln, r, lanes)
	}
	if err != nil {
		return legacy{}, err
	}
	return comparing(sum, func(password string) ([]byte, error) {
		return scrypt.Key([]byte(password), salt, 1<<ln, r, lanes, len(sum))
	}), nil
}

// checkScrypt bounds logarithm of N, r and p.
func checkScrypt(ln, r, p int) error {
	switch {
	case r < 1 || r > maxBlock:
		return fmt.Errorf("scrypt with an r that is not 1 to %d", maxBlock)
	case p < 1 || p > maxLanes:
		return fmt.Errorf("scrypt with a p that is not 1 to %d", maxLanes)
	case ln < 1 || ln > 30 || r<<ln > maxLegacyMemory/128:
		return fmt.Errorf("scrypt with an N that is not 2 to %d (128 times N times r is at most %d)", maxLegacyMemory/128/r, maxLegacyMemory)
	case r*p<<ln > maxScryptWork:
		return fmt.Errorf("scrypt with N times r times p of more than %d", maxScryptWork)
	}
	return nil
}

// parseScryptKDF reads what scrypt-kdf makes: "scrypt", 0, log2 N, r and p in four bytes each, 32 bytes of salt, 16 of the
// SHA-256 of all that, and 32 of the HMAC of all that under the second half of the key.
func parseScryptKDF(text string) (legacy, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 96 {
		return legacy{}, errors.New("it is no whole scrypt-kdf hash")
	}
	if sum := sha256.Sum256(b[:48]); subtle.ConstantTimeCompare(sum[:16], b[48:64]) != 1 {
		return legacy{}, errors.New("the checksum of scrypt-kdf is wrong")
	}
	ln, r, p := int(b[7]), binary.BigEndian.Uint32(b[8:12]), binary.BigEndian.Uint32(b[12:16])
	if err := checkScrypt(ln, int(min(r, 1<<16)), int(min(p, 1<<16))); err != nil {
		return legacy{}, err
	}
	return comparing(b[64:], func(password string) ([]byte, error) {
		key, err := scrypt.Key([]byte(password), b[16:48], 1<<ln, int(r), int(p), 64)
		if err != nil {
			return nil, err
		}
		m := hmac.New(sha256.New, key[32:])
		m.Write(b[:64])
		return m.Sum(nil), nil
	}), nil
}

func parsePBKDF2(digest, rounds string, salt []byte, encoded string) (legacy, error) {
	h := map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}[digest]
	n := number(rounds)
	sum, err := decoded(encoded)
	switch {
	case err != nil:
		return legacy{}, err
	case n < 1 || n > maxRounds:
		return legacy{}, fmt.Errorf("PBKDF2 of rounds that are not 1 to %d", maxRounds)
	case len(salt) < 1 || len(salt) > maxSalt || len(sum) < minSum || len(sum) > maxSum:
		return legacy{}, errSaltOrSum
	}
	return comparing(sum, func(password string) ([]byte, error) { return pbkdf2.Key(h, password, salt, n, len(sum)) }), nil
}

func comparing(sum []byte, derive func(password string) ([]byte, error)) legacy {
	return legacy{fits: func(password string) (bool, error) {
		got, err := derive(password)
		return err == nil && subtle.ConstantTimeCompare(got, sum) == 1, err
	}}
}

// parameters reads a=1,b=2.
func parameters(text string) (map[string]string, error) {
	all := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if _, twice := all[name]; !ok || twice {
			return nil, errors.New("its parameters cannot be read")
		}
		all[name] = value
	}
	return all, nil
}

// number reads a parameter. What is none, or beyond a billion, is -1, which no bound lets pass.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 30)
	if err != nil {
		return -1
	}
	return int(n) //nolint:gosec // G115: of 30 bits
}

func saltAndSum(encodedSalt, encodedSum string) (salt, sum []byte, err error) {
	if salt, err = decoded(encodedSalt); err != nil {
		return nil, nil, err
	}
	if sum, err = decoded(encodedSum); err != nil {
		return nil, nil, err
	}
	if len(salt) < 1 || len(salt) > maxSalt || len(sum) < minSum || len(sum) > maxSum {
		return nil, nil, errSaltOrSum
	}
	return salt, sum, nil
}

// decoded reads base64, with padding or without, and with the . that passlib writes for +.
func decoded(text string) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(strings.ReplaceAll(strings.TrimRight(text, "="), ".", "+"))
	if err != nil {
		return nil, errors.New("its salt or sum is no base64")
	}
	return b, nil
}

// verifyLegacy compares a password with a hash of another program, in the pool. A password that fits makes it stale, so
// that the sign-in replaces it. A wrong one costs what one for an unknown account costs, or what the hash costs if that is
// more.
func (h *Passwords) verifyLegacy(ctx context.Context, l legacy, password string) (ok, stale bool, err error) {
	err = h.pool.run(ctx, func() error {
		start := time.Now()
		ok, err = l.fits(password)
		// bcrypt repeats a password with a NUL in between, and HMAC fills it up with NULs: with some, others than the one fit.
		if ok = ok && !strings.ContainsRune(password, 0); err != nil || ok {
			return err
		}
		sum := mac(h.peppers.first(), password)
		if l.cost > 0 {
			return h.payFrom(l.cost, sum)
		}
		return h.payRest(time.Since(start), sum)
	})
	return ok && err == nil, ok && err == nil, err
}

// payFrom makes a wrong password cost as much as one for an unknown account, which pays for the configured cost, where
// only a bcrypt hash of the cost was computed: 2^n + (2^n + 2^(n+1) + … + 2^(m-1)) = 2^m.
func (h *Passwords) payFrom(cost int, sum []byte) error {
	for ; cost < h.cost; cost++ {
		if err := h.payDecoy(cost, sum); err != nil {
			return err
		}
	}
	return nil
}

// payRest does the same where something else was computed that took so long: it takes as many halves, quarters, … of a
// hash as are missing.
func (h *Passwords) payRest(took time.Duration, sum []byte) error {
	whole := h.whole.get()
	rest := whole - took
	for cost := h.cost - 1; cost >= bcrypt.MinCost; cost-- {
		if whole /= 2; whole > rest {
			continue
		}
		rest -= whole
		if err := h.payDecoy(cost, sum); err != nil {
			return err
		}
	}
	return nil
}

func (h *Passwords) payDecoy(cost int, sum []byte) error {
	err := bcrypt.CompareHashAndPassword(assembleDecoy(cost), sum)
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return nil
	}
	return err
}
