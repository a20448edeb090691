package mail

import (
	"net/netip"
	"strings"
)

// device says in words what a user agent claims to be; empty: nothing that is known. What it is verbatim never gets into a mail:
// whoever signs in with somebody's password would choose the words.
func device(agent string) string {
	first := func(of [][2]string) string {
		for _, known := range of {
			if strings.Contains(agent, known[0]) {
				return known[1]
			}
		}
		return ""
	}
	program := first([][2]string{ // the order matters: most claim to be those below them, too
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	})
	system := first([][2]string{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"CrOS", "ChromeOS"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	})
	if program != "" && system != "" {
		return program + " on " + system
	}
	return program + system
}

// place is an IP without what may be written behind it; empty: it is none.
func place(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return a.Unmap().WithZone("").String()
}
