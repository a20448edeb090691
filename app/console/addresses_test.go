package console

import (
	"slices"
	"strings"
	"testing"
)

func TestListsOfAddressesAreReadAsTheyArePasted(t *testing.T) {
	for list, want := range map[string]string{
		"":            "",
		" \r\n,;\t ,": "",
		"ada@example.com\r\ngrace@example.com\n\nalan@example.com": "ada@example.com|grace@example.com|alan@example.com",
		"ada@example.com, grace@example.com;alan@example.com;":     "ada@example.com|grace@example.com|alan@example.com",
		"ada@example.com grace@example.com\talan@example.com":      "ada@example.com|grace@example.com|alan@example.com",
		"Ada Lovelace <ada@example.com>, <grace@example.com>":      "ada@example.com|grace@example.com",
		`"Lovelace, Ada; \"x" <ada@example.com>`:                   `"Lovelace|Ada|ada@example.com`, // an odd quote is none
		`"Lovelace, Ada" <ada@example.com>; grace@example.com`:     "ada@example.com|grace@example.com",
		"Lovelace, Ada <ada@example.com>; Hopper, Grace <g@x.org>": "ada@example.com|g@x.org",
		"ada.example.com, Grace <grace@example.com>":               "ada.example.com|grace@example.com",
		"ada, bob <bob@example.com":                                "ada, bob <bob@example.com",
		"ada lovelace@example.com":                                 "ada lovelace@example.com",
		"Ada@Example.com, ada@example.com\nADA@EXAMPLE.COM":        "Ada@Example.com",
		"nonsense, nonsense, @x, <>, >":                            "nonsense|@x||>",
		"a<b,c@example.com":                                        "a<b|c@example.com",
		"<a,b>, c@example.com":                                     "a,b|c@example.com",
	} {
		var got []string
		for _, a := range addresseesOf(list) {
			got = append(got, a.Address)
			if !strings.Contains(list, a.Typed) || !strings.Contains(a.Typed, a.Address) {
				t.Errorf("%q: %+v is not as it was typed", list, a)
			}
		}
		if strings.Join(got, "|") != want || want == "" && !slices.Equal(got, nil) {
			t.Errorf("%q: %q, want %q", list, strings.Join(got, "|"), want)
		}
	}
}

func FuzzListsOfAddresses(f *testing.F) {
	f.Add(`"a, b" <c@d.e>; f,g <`)
	f.Fuzz(func(t *testing.T, list string) {
		for _, a := range addresseesOf(list) {
			if a.Typed == "" || !strings.Contains(list, a.Typed) {
				t.Errorf("%q: %+v is not as it was typed", list, a)
			}
		}
	})
}
