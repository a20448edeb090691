package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/latchkey-go/latchkey/app/browsertest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// screenshots is a directory that the pages are photographed into, at three widths and in the dark; empty: they are not.
//
//	LATCHKEY_TEST_SCREENSHOTS=/tmp/pages go test -run TestPeopleUseTheConsole/with_script/sqlite ./app
const screenshots = "LATCHKEY_TEST_SCREENSHOTS"

// someone is somebody who uses the pages, in a browser of their own. Whatever they see is looked at for what keeps people out.
type someone struct {
	*browsertest.Browser
	t      *testing.T
	url    string // of the server
	script bool
	seen   *sync.Map // what has been looked at already
}

// visitor is somebody who comes for the first time.
func visitor(t *testing.T, url string, script bool, seen *sync.Map) *someone {
	return meet(t, browsertest.Start(t), url, script, seen)
}

func meet(t *testing.T, in *browsertest.Browser, url string, script bool, seen *sync.Map) *someone {
	p := &someone{in, t, url, script, seen}
	if !script {
		p.Run(emulation.SetScriptExecutionDisabled(true))
	}
	t.Cleanup(func() {
		for _, c := range p.Complaints() {
			if !strings.Contains(c, "Failed to load resource: the server responded with a status of 4") { // a page that refuses
				t.Errorf("the browser complains: %s", c)
			}
		}
	})
	return p
}

// open goes to a page by its address.
func (p *someone) open(path string) *someone {
	p.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = p.url + path
	}
	p.Run(chromedp.Navigate(path))
	return p.look()
}

// follow follows the link that says so.
func (p *someone) follow(text string) *someone {
	p.t.Helper()
	return p.click(fmt.Sprintf(`//a[normalize-space()=%s]`, quoted(text)))
}

// beside follows the link that says so and opens in another tab, in which they go on.
func (p *someone) beside(text string) *someone {
	p.t.Helper()
	tab := meet(p.t, p.Tab(chromedp.Click(fmt.Sprintf(`//a[normalize-space()=%s]`, quoted(text)))), p.url, p.script, p.seen)
	tab.WaitURL(func(address string) bool { return strings.HasPrefix(address, p.url) })
	return tab
}

// comesBack goes back to the tab, from another one.
func (p *someone) comesBack() *someone {
	p.t.Helper()
	p.Run(page.BringToFront())
	return p
}

// press presses the button that says so.
func (p *someone) press(text string) *someone {
	p.t.Helper()
	return p.click(fmt.Sprintf(`//button[normalize-space()=%s]`, quoted(text)))
}

// click clicks on the first such element that is shown, and waits for the page that it leads to.
func (p *someone) click(xpath string) *someone {
	p.t.Helper()
	var found bool
	p.Run(chromedp.Evaluate(fmt.Sprintf(`(() => {
		const all = document.evaluate(%s, document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
		for (let i = 0; i < all.snapshotLength; i++) {
			const e = all.snapshotItem(i);
			if (!e.checkVisibility()) continue;
			window.left = false;
			e.click();
			return true;
		}
		return false;
	})()`, quoted(xpath)), &found))
	if !found {
		p.t.Fatalf("there is no %s:\n%s", xpath, p.Text())
	}
	p.arrive()
	return p.look()
}

// arrive waits for the page after this one.
func (p *someone) arrive() {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var there bool
		if p.Try(chromedp.Evaluate(`window.left === undefined && document.readyState === "complete"`, &there)) == nil && there {
			return
		}
	}
	p.t.Fatalf("no other page came:\n%s", p.Text())
}

// fill types into the field of that name, in place of what is there.
func (p *someone) fill(pairs ...string) *someone {
	p.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		var found bool
		p.Run(chromedp.Evaluate(fmt.Sprintf(`(() => {
			const field = document.querySelector('main [name=' + CSS.escape(%s) + ']:not([type=hidden])');
			if (!field) return false;
			field.focus();
			field.value = "";
			return document.activeElement === field;
		})()`, quoted(pairs[i])), &found), input.InsertText(pairs[i+1]))
		if !found {
			p.t.Fatalf("there is no field %s:\n%s", pairs[i], p.Text())
		}
	}
	return p
}

// choose sets a select, or a checkbox by its value.
func (p *someone) choose(name, value string) *someone {
	p.t.Helper()
	var found bool
	p.Run(chromedp.Evaluate(fmt.Sprintf(`(() => {
		const box = document.querySelector('main input[name=' + CSS.escape(%[1]s) + '][value=' + CSS.escape(%[2]s) + ']');
		if (box) { if (!box.checked) box.click(); return true; }
		const select = document.querySelector('main select[name=' + CSS.escape(%[1]s) + ']');
		if (!select) return false;
		select.value = %[2]s;
		return select.value === %[2]s;
	})()`, quoted(name), quoted(value)), &found))
	if !found {
		p.t.Fatalf("%s cannot be %s:\n%s", name, value, p.Text())
	}
	return p
}

// says wants the page to say it all.
func (p *someone) says(texts ...string) *someone {
	p.t.Helper()
	said := p.Text()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			p.t.Fatalf("the page does not say %q, but at %s:\n%s", text, p.URL(), said)
		}
	}
	return p
}

// saysNot wants the page to say none of it.
func (p *someone) saysNot(texts ...string) *someone {
	p.t.Helper()
	said := p.Text()
	for _, text := range texts {
		if strings.Contains(said, text) {
			p.t.Errorf("the page says %q, at %s:\n%s", text, p.URL(), said)
		}
	}
	return p
}

// holds wants the fields to hold the values.
func (p *someone) holds(pairs ...string) *someone {
	p.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		var got string
		p.Run(chromedp.Evaluate(fmt.Sprintf(`document.querySelector('main [name=' + CSS.escape(%s) + ']').value`, quoted(pairs[i])), &got))
		if got != pairs[i+1] {
			p.t.Errorf("the field %s holds %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
	return p
}

// at wants the browser to be at the page.
func (p *someone) at(path string) *someone {
	p.t.Helper()
	if got := p.URL(); strings.SplitN(strings.TrimPrefix(got, p.url), "?", 2)[0] != path {
		p.t.Fatalf("the browser is at %s, want %s:\n%s", got, path, p.Text())
	}
	return p
}

// faulty wants the field to have the focus, which it gets a moment after the page, and to be marked as faulty.
func (p *someone) faulty(field string) *someone {
	p.t.Helper()
	var name, marked string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p.Run(chromedp.Evaluate(`document.activeElement.name || ""`, &name), chromedp.Evaluate(`document.activeElement.getAttribute("aria-invalid") || ""`, &marked))
		if name == field && marked == "true" {
			return p
		}
	}
	p.t.Errorf("the field %q has the focus, marked %q, want %q:\n%s", name, marked, field, p.Text())
	return p
}

// look has a page that has not been seen before looked at by axe, in the light and in the dark, and for what does not fit a narrow
// screen; and has it photographed, if somebody wants that.
func (p *someone) look() *someone {
	p.t.Helper()
	var kind string
	p.Run(chromedp.Evaluate(`document.title + "|" + location.pathname.replace(/[a-z]+_[0-9A-Z]{26}/g, "ID") + "|" + [...document.querySelectorAll("main form, main .empty, main table, main .problem, main .flash")].map(e => e.localName + e.className).join()`, &kind))
	if _, known := p.seen.LoadOrStore(kind, true); known || !p.script {
		return p
	}
	for _, scheme := range []string{"light", "dark"} {
		p.Run(in(scheme))
		p.axe(kind + " " + scheme)
	}
	p.Run(emulation.SetEmulatedMedia())
	p.fits(kind)
	return p
}

// in is the light or the dark, without movement: what is on its way from one colour to another has neither.
func in(scheme string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}})
}

// fits wants the page to need no scrolling sideways where the screen is as narrow as they get.
func (p *someone) fits(kind string) {
	p.t.Helper()
	var wide []string
	p.Run(chromedp.EmulateViewport(360, 800), chromedp.Evaluate(`document.documentElement.scrollWidth <= 360 ? [] :
		[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 361 && !e.closest(".scroll")).map(e => e.outerHTML.slice(0, 120))`, &wide))
	if len(wide) > 0 {
		p.t.Errorf("%s is wider than 360 pixels:\n%s", kind, strings.Join(wide, "\n"))
	}
	p.Run(chromedp.EmulateViewport(1280, 900))
}

// axe has axe-core say what keeps people out, and holds what is serious against the page.
func (p *someone) axe(what string) {
	p.t.Helper()
	var found string
	p.Run(chromedp.Evaluate(axeCore(p.t)+`; axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, impact: v.impact, help: v.help, at: v.nodes.map(n => n.html + " — " + n.failureSummary)}))))`, &found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var violations []struct {
		ID, Impact, Help string
		At               []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range violations {
		if v.Impact == "serious" || v.Impact == "critical" {
			p.t.Errorf("%s: %s (%s): %s\n%s", what, v.ID, v.Impact, v.Help, strings.Join(v.At, "\n"))
		}
	}
}

// photographed has the page photographed under a name, if somebody wants that.
func (p *someone) photographed(name string) *someone {
	p.t.Helper()
	dir := os.Getenv(screenshots)
	if dir == "" || !p.script {
		return p
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pictures of a test
		p.t.Fatal(err)
	}
	for _, shot := range []struct {
		scheme string
		width  int64
	}{{"light", 1280}, {"light", 768}, {"light", 360}, {"dark", 1280}} {
		var picture []byte
		p.Run(chromedp.EmulateViewport(shot.width, 900), in(shot.scheme),
			chromedp.FullScreenshot(&picture, 100))
		file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, shot.scheme, shot.width))
		if err := os.WriteFile(file, picture, 0o644); err != nil { //nolint:gosec // a picture of a test
			p.t.Fatal(err)
		}
	}
	p.Run(chromedp.EmulateViewport(1280, 900), emulation.SetEmulatedMedia())
	return p
}

// axeCore is the source of axe-core, pinned by testdata/axe/package-lock.json and installed by npm for tests alone.
func axeCore(t *testing.T) string {
	t.Helper()
	source, err := installAxe()
	if err != nil {
		databasetest.SkipLoudly(t, requirePrograms, "axe-core", err.Error())
	}
	return source
}

var installAxe = sync.OnceValues(func() (string, error) {
	into, err := programs()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(into, "axe")
	if err := os.CopyFS(dir, os.DirFS("testdata/axe")); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm could not install it: %w\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	return string(data), err
})

// quoted is a text as a script writes it, and as XPath does if it has no quotation mark.
func quoted(text string) string {
	data, _ := json.Marshal(text) //nolint:errchkjson // a text can be written
	return string(data)
}
