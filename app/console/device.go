package console

import (
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// device is what signs in, as it calls itself. It may say anything: it helps who looks for what is theirs, and proves nothing.
type device struct {
	Program string // a browser, or whatever else; empty: nobody knows
	System  string // what it runs on; empty: nobody knows
}

// Browsers and systems, the one that says it is another as well before that other.
var (
	browsers = [][2]string{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"OPR/", "Opera"}, {"OPT/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"},
		{"Vivaldi/", "Vivaldi"}, {"YaBrowser/", "Yandex Browser"}, {"DuckDuckGo/", "DuckDuckGo"}, {"Ddg/", "DuckDuckGo"},
		{"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chromium"},
		{"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
	systems = [][2]string{
		{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Mac OS X", "macOS"}, {"Macintosh", "macOS"}, {"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"Linux", "Linux"},
	}
)

func deviceOf(userAgent string) (d device) {
	d.System = first(systems, userAgent)
	if d.Program = first(browsers, userAgent); d.Program != "" || strings.HasPrefix(userAgent, "Mozilla/") {
		return d
	}
	name, _, _ := strings.Cut(userAgent, " ") // as programs call themselves: curl/8.5.0
	name, _, _ = strings.Cut(name, "/")
	d.Program = database.Clip(name, 40)
	return d
}

func first(of [][2]string, in string) string {
	for _, known := range of {
		if strings.Contains(in, known[0]) {
			return known[1]
		}
	}
	return ""
}
