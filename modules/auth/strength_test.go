package auth

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// The scores are those of npm's zxcvbn 4.4.2. The program does not use a port of it, because one loads all of its lists at
// every start, and takes seconds for a password of the wrong kind.
func TestStrengthIsAboutWhatZxcvbnSays(t *testing.T) {
	same, all := 0, 0
	for password, theirs := range map[string]int{
		"password": 0, "password1": 0, "P@ssw0rd": 0, "12345678": 0, "qwertyuiop": 0, "1qaz2wsx": 0, "zxcvbnm,./": 1,
		"aaaaaaaa": 0, "abcdefgh": 0, "abcabcabc": 0, "19451945": 0, "drowssap": 0, "letmein!": 1, "iloveyou2": 1,
		"Summer2026!": 2, "margaret1960": 1, "correcthorse": 2, "correct horse": 3, "correcthorsebatterystaple": 4,
		"Tr0ub4dour&3": 2, "D0g..................": 1, "neverforget13/3/1997": 3, "qwER43@!": 2, "asdfghju7654rewq": 3,
		"AOEUIDHG&*()LS_": 3, "rWibMFACxAUGZmxhVncy": 4, "Ba9ZyWABu99[BK#6MBgbH88Tofv)vs$w": 4, "temppass22": 1,
		"briansmith4mayor": 4, "viking": 0, "verlineVANDERMARK": 4, "eheuczkqyq": 3, "ScoRpi0ns": 1, "do you know": 3,
		"Jennifer": 0, "samantha1": 1, "liverpoolfc": 1, "baseball2004": 1, "0.0.0.0.0.0": 1, "jkl;jkl;": 1, "my dog has fleas": 4,
		"ecneics": 0,
	} {
		ours := Strength(password)
		if all++; ours == theirs {
			same++
		}
		t.Logf("%q is %d, to zxcvbn %d", password, ours, theirs)
		if ours < theirs-1 || ours > theirs+1 {
			t.Errorf("%q is %d, to zxcvbn %d", password, ours, theirs)
		}
	}
	if same*10 < all*8 {
		t.Errorf("%d of %d are the same, want eight in ten", same, all)
	}
}

func TestStrengthKnowsWhatIsKnownOfThePerson(t *testing.T) {
	const password = "kwyjibo-1789" // no word that anybody counted
	without, with := Strength(password), Strength(password, "kwyjibo@example.com")
	if without < 4 || with > 2 {
		t.Errorf("%q is %d, and %d for who is called that", password, without, with)
	}
	for password, want := range map[string]int{"": 0, "\xff\xfe\xfd": 0, "漢字仮名交文世界平和安全": 4, "ééééééééé": 0} {
		if got := Strength(password); got != want {
			t.Errorf("%q is %d, want %d", password, got, want)
		}
	}
}

// What a password is made of must not decide what it costs to judge it, nor how long it is.
func TestTheStepsOfStrengthAreBounded(t *testing.T) {
	const most = 100_000
	for name, unit := range map[string]string{
		"one letter": "a", "look-alikes": "4@8({[<3691!|0$5+7%2", "words": "thethethe", "keys": "qwe", "dates": "1.1.11", "digits": "1234567890", "turns": "qazwsxedc",
		"capitals": "aAbBcC", "passwords": "password1", "pairs": "ab", "not ASCII": "漢🐎é",
	} {
		long := string([]rune(strings.Repeat(unit, MaxPassword))[:MaxPassword])
		if utf8.RuneCountInString(long) != MaxPassword {
			t.Fatalf("%s: %d characters", name, utf8.RuneCountInString(long))
		}
		steps := func(password string) int {
			s := scoring{ranks: ranks(), text: []rune(password)}
			s.text = s.text[:min(len(s.text), scored)]
			if g := s.guesses(); math.IsNaN(g) || g <= 0 {
				t.Errorf("%s: %v guesses", name, g)
			}
			return s.steps
		}
		n := steps(long)
		t.Logf("%s: %d steps", name, n)
		if half := steps(string([]rune(long)[:scored])); n > most || n != half {
			t.Errorf("%s takes %d steps, its beginning %d; want no more than %d", name, n, half, most)
		}
	}
}

func TestTheListOfCommonPasswordsIsLongEnough(t *testing.T) {
	all := 0
	for word := range ranks() {
		if utf8.RuneCountInString(word) >= MinPassword {
			all++
		}
		if word != strings.ToLower(word) {
			t.Fatalf("%q is not in lower case and would not be found", word)
		}
	}
	passwords := 0
	for _, word := range commonPasswords() {
		if utf8.RuneCountInString(word) >= MinPassword {
			passwords++
		}
	}
	if passwords < 10_000 || all < passwords {
		t.Errorf("%d passwords of %d entries have %d characters or more, want 10,000", passwords, all, MinPassword)
	}
}

func FuzzStrength(f *testing.F) {
	for _, seed := range []string{"", "password", "漢字", "a\x00b", "1.1.2011", "qwertyqwerty", strings.Repeat("4@8({[<3691!|0$5+7%2", 13), "\xff"} {
		f.Add(seed, "ada@example.com")
	}
	f.Fuzz(func(t *testing.T, password, own string) {
		if got := Strength(password, own); got < 0 || got > 4 {
			t.Errorf("%q is %d", password, got)
		}
		_ = Policy{MinStrength: 2}.Check(password, own)
	})
}
