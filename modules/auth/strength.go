package auth

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Strength estimates how many guesses a password takes somebody who knows how people choose theirs: 0 less than a
// thousand, 1 less than a million, 2 less than a hundred million, 3 less than ten thousand million, 4 more. The words are
// what they know of the person. What is no valid text is 0.
//
// It is zxcvbn's way: a password is split into common words, names and passwords, forwards, backwards and in
// look-alikes, runs of keys, sequences, repetitions, dates, and the rest, such that the guesses are the fewest. It looks
// at the first 64 characters only, and takes steps in proportion to them, whatever they are.
func Strength(password string, words ...string) int { return strength(password, contextWords(words)) }

const (
	scored    = 64 // characters that are looked at; the rest adds nothing
	maxPieces = 5  // that a password is split into; more have passed the last threshold by their number alone
	longest   = 24 // of what is looked up
)

// piece is a part of a password that can be guessed as one, characters i to j, that included.
type piece struct {
	i, j    int
	guesses float64
}

func strength(password string, words []string) int {
	if !utf8.ValidString(password) {
		return 0
	}
	s := scoring{ranks: ranks(), own: map[string]bool{}, text: []rune(password)}
	s.text = s.text[:min(len(s.text), scored)]
	for _, word := range words {
		s.own[word] = true
	}
	for score, limit := range []float64{1e3, 1e6, 1e8, 1e10} {
		if s.guesses() < limit+5 {
			return score
		}
	}
	return 4
}

type scoring struct {
	ranks map[string]int
	own   map[string]bool
	text  []rune

	pieces [][]piece // by j
	least  float64
	steps  int // taken, for a test
}

// guesses are the fewest over all ways to split the text: for n pieces n! times their product, and what all shorter ways
// cost that are tried before.
func (s *scoring) guesses() float64 {
	n := len(s.text)
	if s.least > 0 || n == 0 {
		return s.least
	}
	s.pieces = make([][]piece, n)
	s.find()
	const never = math.MaxFloat64
	best := make([][maxPieces + 1]float64, n+1) // of the products, by end and number of pieces
	brute := make([][maxPieces + 1]float64, n+1)
	for k := range best {
		for l := range best[k] {
			best[k][l], brute[k][l] = never, never
		}
	}
	best[0][0] = 1
	for k := 1; k <= n; k++ {
		for l := 1; l <= maxPieces; l++ {
			for _, p := range s.pieces[k-1] {
				s.steps++
				if before := min(best[p.i][l-1], brute[p.i][l-1]); before < never {
					best[k][l] = min(best[k][l], before*p.guesses)
				}
			}
			// The rest is one piece, however long: it grows from what came before, or begins here.
			brute[k][l] = min(brute[k-1][l]*10, best[k-1][l-1]*10)
		}
	}
	s.least = never
	factorial := 1.0
	for l := 1; l <= maxPieces; l++ {
		factorial *= float64(l)
		if product := min(best[n][l], brute[n][l]); product < never {
			s.least = min(s.least, factorial*product+math.Pow(10_000, float64(l-1)))
		}
	}
	return s.least
}

func (s *scoring) add(i, j int, guesses float64) {
	least := 1.0
	if j-i+1 < len(s.text) { // a part of the password; where it ends has to be guessed as well
		least = 50
		if i == j {
			least = 10
		}
	}
	s.pieces[j] = append(s.pieces[j], piece{i, j, max(guesses, least)})
}

func (s *scoring) find() {
	lower := make([]rune, len(s.text))
	for i, r := range s.text {
		lower[i] = unicode.ToLower(r)
	}
	s.words(lower, 1)
	for _, table := range lookAlikes {
		plain, changed := slices.Clone(lower), false
		for i, r := range plain {
			if as, ok := table[r]; ok {
				plain[i], changed = as, true
			}
		}
		if changed {
			s.words(plain, 2)
		}
	}
	s.runs(sequences)
	s.runs(keys)
	s.repetitions(lower)
	s.dates()
}

// lookAlikes are signs that stand for letters. Those that may stand for two are in one table as either.
var lookAlikes = func() (tables [2]map[rune]rune) {
	const signs, first, second = "4@8({[<3691!|0$5+7%2", "aabcccceggiiiosstltz", "aabcccceggilloss+txz"
	for t, letters := range []string{first, second} {
		tables[t] = map[rune]rune{}
		for i, r := range signs {
			tables[t][r] = rune(letters[i])
		}
	}
	return tables
}()

// words finds words, and words spelled backwards. Unless it is 1, times is what it costs that letters were replaced.
func (s *scoring) words(lower []rune, times float64) {
	back := slices.Clone(lower)
	slices.Reverse(back)
	n := len(lower)
	for i := range lower {
		for j := i + 2; j < min(n, i+longest); j++ {
			s.steps += 2
			if g := s.rank(lower[i : j+1]); g > 0 {
				s.add(i, j, g*times*variations(s.text[i:j+1]))
			}
			if g := s.rank(back[n-1-j : n-i]); g > 0 {
				s.add(i, j, 2*g*times*variations(s.text[i:j+1]))
			}
		}
	}
}

// rank is how many guesses a word takes; 0: it is none.
func (s *scoring) rank(word []rune) float64 {
	text := string(word)
	if s.own[text] {
		return 1
	}
	return float64(s.ranks[text])
}

// variations are the ways to write a word with as many capitals.
func variations(word []rune) float64 {
	upper, letters := 0, 0
	for _, r := range word {
		if unicode.IsUpper(r) {
			upper++
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	switch {
	case upper == 0:
		return 1
	case upper == letters, upper == 1 && (unicode.IsUpper(word[0]) || unicode.IsUpper(word[len(word)-1])):
		return 2
	}
	ways := 0.0
	for k := 1; k <= min(upper, letters-upper); k++ {
		ways += binomial(letters, k)
	}
	return ways
}

func binomial(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways *= float64(n-i) / float64(i+1)
	}
	return ways
}

// A kind of runs: whether a character goes on from the one before, in which direction, and what a run costs.
type kind struct {
	next    func(before, r rune) (direction int, ok bool)
	turns   bool // a run may turn
	guesses func(run []rune, turns int) float64
}

var sequences = kind{
	next: func(before, r rune) (int, bool) {
		d := int(r - before)
		return d, d != 0 && d >= -5 && d <= 5 && alike(before, r)
	},
	guesses: func(run []rune, _ int) float64 {
		base := 26.0
		switch first := run[0]; {
		case strings.ContainsRune("aAzZ019", first):
			base = 4
		case unicode.IsDigit(first):
			base = 10
		}
		if run[1] < run[0] {
			base *= 2
		}
		return base * float64(len(run))
	},
}

// alike reports whether both are digits, lower-case or upper-case letters.
func alike(a, b rune) bool {
	return unicode.IsDigit(a) && unicode.IsDigit(b) || unicode.IsLower(a) && unicode.IsLower(b) || unicode.IsUpper(a) && unicode.IsUpper(b)
}

var keys = kind{
	turns: true,
	next: func(before, r rune) (int, bool) {
		a, ok := keyboard[before]
		b, there := keyboard[r]
		if !ok || !there {
			return 0, false
		}
		// A row is half a key right of the one above, so that the neighbours above are this column and the next.
		switch d := [2]int{b[0] - a[0], b[1] - a[1]}; d {
		case [2]int{0, 1}, [2]int{0, -1}, [2]int{-1, 0}, [2]int{-1, 1}, [2]int{1, 0}, [2]int{1, -1}:
			return 10*d[0] + d[1], true
		}
		return 0, false
	},
	guesses: func(run []rune, turns int) float64 {
		const start, degree = 94, 4.6
		guesses := 0.0
		for i := 2; i <= len(run); i++ {
			for j := 1; j <= min(turns, i-1); j++ {
				guesses += binomial(i-1, j-1) * start * math.Pow(degree, float64(j))
			}
		}
		return guesses
	},
}

// keyboard is row and column of each sign.
var keyboard = func() map[rune][2]int {
	at := map[rune][2]int{}
	for row, signs := range [][2]string{
		{"`1234567890-=", "~!@#$%^&*()_+"}, {" qwertyuiop[]\\", " QWERTYUIOP{}|"}, {" asdfghjkl;'", " ASDFGHJKL:\""}, {" zxcvbnm,./", " ZXCVBNM<>?"},
	} {
		for _, plane := range signs {
			for column, r := range plane {
				if r != ' ' {
					at[r] = [2]int{row, column}
				}
			}
		}
	}
	return at
}()

// runs finds what goes on from character to character for three at least.
func (s *scoring) runs(k kind) {
	for i := 0; i < len(s.text)-1; {
		j, last, turns := i, math.MinInt, 0
		for j+1 < len(s.text) {
			s.steps++
			d, ok := k.next(s.text[j], s.text[j+1])
			if !ok || d != last && turns > 0 && !k.turns {
				break
			}
			if d != last {
				turns++
			}
			last = d
			j++
		}
		if j-i >= 2 {
			s.add(i, j, k.guesses(s.text[i:j+1], turns))
		}
		i = max(j, i+1)
	}
}

// repetitions finds the same again and again.
func (s *scoring) repetitions(lower []rune) {
	n := len(lower)
	for size := 1; size <= n/2; size++ {
		for i := 0; i+2*size <= n; {
			j := i + size
			for j < n && lower[j] == lower[j-size] {
				s.steps++
				j++
			}
			s.steps++
			times := (j - i) / size
			if times >= 2 && times*size >= 3 {
				base := math.Pow(10, float64(size)) + 1
				for _, p := range s.pieces[i+size-1] {
					if p.i == i {
						base = min(base, p.guesses)
					}
				}
				s.add(i, i+times*size-1, base*float64(times))
			}
			i = max(j-size+1, i+1)
		}
	}
}

// dates finds years, and days of a year with separators or without.
func (s *scoring) dates() {
	const years, separators = 120, 4
	for i := range s.text {
		for size := 4; size <= 10 && i+size <= len(s.text); size++ {
			s.steps++
			digits, other := 0, 0
			for _, r := range s.text[i : i+size] {
				if r >= '0' && r <= '9' {
					digits++
				} else if strings.ContainsRune("/-._ \\", r) {
					other++
				}
			}
			first, last := string(s.text[i:i+min(2, size)]), string(s.text[i+size-4:i+size-2])
			century := first == "19" || first == "20" || last == "19" || last == "20"
			switch {
			case digits == 4 && size == 4 && century:
				s.add(i, i+3, years)
			case digits == 6 && size == 6, digits == 8 && size == 8 && century:
				s.add(i, i+size-1, 365*years)
			case other == 2 && digits == size-2 && digits >= 4 && s.text[i] <= '9' && s.text[i] >= '0':
				s.add(i, i+size-1, 365*years*separators)
			}
		}
	}
}
