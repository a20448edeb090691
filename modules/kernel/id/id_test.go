package id_test

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

func TestIDIsAPrefixAndAULID(t *testing.T) {
	if got := id.New("user"); !regexp.MustCompile(`^user_[0-7][0-9A-HJKMNP-TV-Z]{25}$`).MatchString(got) || !id.Valid("user", got) {
		t.Errorf("got %q", got)
	}
	if got := id.New(""); !regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`).MatchString(got) || !id.Valid("", got) {
		t.Errorf("without a prefix: %q", got)
	}
}

func TestIDsSortByTheMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made []string
		for range 100 {
			made = append(made, id.New("user"))
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(made) {
			t.Errorf("not sorted: %v", made)
		}
	})
}

func TestNoTwoIDsAreTheSame(t *testing.T) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				s := id.New("x")
				mu.Lock()
				seen[s] = true
				mu.Unlock()
			}
		})
	}
	if wg.Wait(); len(seen) != 8000 {
		t.Errorf("%d different of 8000", len(seen))
	}
}

func TestValidKnowsWhatWasNotMintedHere(t *testing.T) {
	const ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, c := range []struct {
		prefix, s string
		want      bool
	}{
		{"user", "user_" + ulid, true},
		{"", ulid, true},
		{"user", "invite_" + ulid, false},
		{"user", ulid, false},
		{"", "user_" + ulid, false},
		{"user", "user" + ulid, false},
		{"user", "user__" + ulid, false},
		{"user", "USER_" + ulid, false},
		{"user", "user_" + strings.ToLower(ulid), false},
		{"user", "user_" + ulid[:25], false},
		{"user", "user_" + ulid + "0", false},
		{"user", "user_" + ulid + "\n", false},
		{"user", " user_" + ulid, false},
		{"user", "user_" + ulid[:25] + "I", false}, // I, L, O and U are not Crockford's
		{"user", "user_" + ulid[:25] + "U", false},
		{"user", "user_" + ulid[:25] + "\x00", false},
		{"user", "user_8" + ulid[1:], false}, // more than 128 bits
		{"user", "user_", false},
		{"user", "user", false},
		{"user", "", false},
		{"", "", false},
	} {
		if got := id.Valid(c.prefix, c.s); got != c.want {
			t.Errorf("Valid(%q, %q) = %t, want %t", c.prefix, c.s, got, c.want)
		}
	}
}
