// Package browsertest gives a test a real browser: Chromium, without a window.
//
//	func TestMain(m *testing.M) { databasetest.Main(m, browsertest.Stop) }
//
//	func TestSomething(t *testing.T) {
//		b := browsertest.Start(t)
//		b.Run(chromedp.Navigate(site+"/app/login"), chromedp.WaitVisible("form"))
//		…
//	}
//
// One Chromium serves all tests of a test program. Each Browser has cookies, storage and cache of its own, as that of somebody else
// does, and shows one tab. Chromium is the program that LATCHKEY_TEST_CHROMIUM names, or else the first on the PATH that is one. Where
// there is none the test is skipped, and the terminal says so once; with LATCHKEY_TEST_REQUIRE_PROGRAMS=1 it fails instead. It reaches
// this machine only: every name but localhost, and what ends in .localhost, leads nowhere.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

const (
	startTimeout = 60 * time.Second // for Chromium, the first time on a busy machine
	runTimeout   = 30 * time.Second // for one Run
)

// Browser is that of one person. It is closed when its test ends.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// Start opens a browser that has never been anywhere.
func Start(t testing.TB) *Browser {
	t.Helper()
	at := chromium()
	switch {
	case at.err != nil:
		t.Fatalf("browsertest: Chromium for tests: %v", at.err)
	case at.why != "":
		databasetest.SkipLoudly(t, "LATCHKEY_TEST_REQUIRE_PROGRAMS", "Chromium", at.why)
	}
	executor := cdp.WithExecutor(at.ctx, chromedp.FromContext(at.ctx).Browser)
	ctx, done := context.WithTimeout(executor, runTimeout)
	defer done()
	person, err := target.CreateBrowserContext().WithDisposeOnDetach(true).Do(ctx)
	if err != nil {
		t.Fatalf("browsertest: make room for somebody: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(executor, runTimeout)
		defer cancel()
		_ = target.DisposeBrowserContext(person).Do(ctx) // its tabs close with it
	})
	tab, err := target.CreateTarget("about:blank").WithBrowserContextID(person).WithNewWindow(true).Do(ctx)
	if err != nil {
		t.Fatalf("browsertest: open a tab: %v", err)
	}
	return attach(t, tab)
}

// Tab has the browser do what opens another tab, such as clicking on a link, and is that tab of the same person.
func (b *Browser) Tab(open ...chromedp.Action) *Browser {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return i.Type == "page" })
	b.Run(open...)
	select {
	case tab := <-opened:
		return attach(b.t, tab)
	case <-time.After(runTimeout):
		b.t.Fatalf("browser: no tab was opened:\n%s", b.shown())
		return nil
	}
}

func attach(t testing.TB, tab target.ID) *Browser {
	t.Helper()
	// It is no child of the test's context, which ends before the test's cleanups.
	tabCtx, cancel := chromedp.NewContext(chromium().ctx, chromedp.WithTargetID(tab))
	t.Cleanup(cancel)
	b := &Browser{t: t, ctx: tabCtx}
	chromedp.ListenTarget(b.ctx, b.listen)
	// What listens lives as long as the context of the first Run, which hence has no deadline of its own.
	late := time.AfterFunc(runTimeout, cancel)
	if err := chromedp.Run(b.ctx, log.Enable()); !late.Stop() || err != nil {
		t.Fatalf("browsertest: attach to a tab: %v", err)
	}
	return b
}

// Context is that of the tab, for chromedp's functions. It ends with the test, and has no deadline.
func (b *Browser) Context() context.Context { return b.ctx }

// Run has the browser do something, and fails the test, with what the browser shows, if it cannot or takes too long.
func (b *Browser) Run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := b.Try(actions...); err != nil {
		b.t.Fatalf("browser: %v\n%s", err, b.shown())
	}
}

// Try is Run for what may fail.
func (b *Browser) Try(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(b.ctx, runTimeout)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// URL is the address that the browser shows.
func (b *Browser) URL() string {
	b.t.Helper()
	var at string
	b.Run(chromedp.Location(&at))
	return at
}

// Text is what the page says.
func (b *Browser) Text() string {
	b.t.Helper()
	var text string
	b.Run(chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &text))
	return text
}

// WaitURL waits until the browser shows an address that is as wanted, loaded, and returns it.
func (b *Browser) WaitURL(wanted func(address string) bool) string {
	b.t.Helper()
	var at string
	for end := time.Now().Add(runTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var state string
		// It may be on its way from one page to another, where nothing can be asked.
		if err := b.Try(chromedp.Location(&at), chromedp.Evaluate(`document.readyState`, &state)); err == nil && state == "complete" && wanted(at) {
			return at
		}
	}
	b.t.Fatalf("browser: it did not get where it should:\n%s", b.shown())
	return ""
}

// Complaints are what the browser has written to its console as a warning or an error: what a policy has kept from a page, what was
// not found, what a script has thrown.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints)
}

func (b *Browser) listen(event any) {
	said := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			said = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *cdpruntime.EventExceptionThrown:
		said = "exception: " + e.ExceptionDetails.Error()
	case *cdpruntime.EventConsoleAPICalled:
		if e.Type == cdpruntime.APITypeError || e.Type == cdpruntime.APITypeWarning || e.Type == cdpruntime.APITypeAssert {
			said = "console." + string(e.Type)
			for _, a := range e.Args {
				said += " " + string(a.Value) + a.Description
			}
		}
	}
	if said == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, said)
}

// shown says what the browser shows, for a test that fails.
func (b *Browser) shown() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	var at, text string
	if err := chromedp.Run(ctx, chromedp.Location(&at), chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &text)); err != nil {
		return fmt.Sprintf("what it shows cannot be told: %v", err)
	}
	return fmt.Sprintf("at %s it shows:\n%s\ncomplaints: %s", at, text, strings.Join(b.Complaints(), "\n"))
}

// found is the Chromium that runs, or the reason why there is none.
type found struct {
	ctx context.Context // of chromedp, without a tab
	why string          // there is none here
	err error           // there is, and it did not start
}

// chromium starts it, once per process.
var chromium = sync.OnceValue(func() found {
	program, why := find()
	if why != "" {
		return found{why: why}
	}
	ctx, err := start(program)
	if err != nil {
		Stop()
	}
	return found{ctx: ctx, err: err}
})

func find() (program, why string) {
	const setting = "LATCHKEY_TEST_CHROMIUM"
	if given := os.Getenv(setting); given != "" {
		program, err := exec.LookPath(given)
		if err != nil {
			return "", setting + " is no program: " + err.Error()
		}
		return program, ""
	}
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		`C:\Program Files\Google\Chrome\Application\chrome.exe`,
	} {
		if program, err := exec.LookPath(name); err == nil {
			return program, ""
		}
	}
	return "", "no chromium, chromium-browser or google-chrome found; install it (on Debian: apt-get install chromium fonts-dejavu-core) or set " + setting
}

func flags(profile string) []string {
	all := []string{
		"--headless", "--user-data-dir=" + profile, "--remote-debugging-port=0",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]",
		"--no-proxy-server", "--window-size=1280,900", "--lang=en-US", "--force-color-profile=srgb", "--hide-scrollbars", "--mute-audio",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad", "--disable-extensions", "--disable-sync", "--disable-default-apps",
		"--disable-background-networking", "--disable-component-update", "--disable-client-side-phishing-detection",
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
		"--disable-hang-monitor", "--disable-ipc-flooding-protection", "--disable-popup-blocking", "--disable-prompt-on-repost",
		"--disable-features=Translate,OptimizationHints,MediaRouter",
		"--metrics-recording-only", "--no-first-run", "--no-default-browser-check", "--no-service-autorun",
		"--password-store=basic", "--use-mock-keychain",
	}
	if runtime.GOOS == "linux" && os.Getuid() == 0 {
		all = append(all, "--no-sandbox") // its sandbox refuses root; it is shown our own pages only
	}
	return append(all, "about:blank")
}

func start(program string) (context.Context, error) {
	dir, err := os.MkdirTemp("", "latchkey-chromium-")
	if err != nil {
		return nil, err
	}
	running.dir = dir
	profile := filepath.Join(dir, "profile")
	if err := launch(dir, program, flags(profile)); err != nil {
		return nil, err
	}
	address, err := await(filepath.Join(profile, "DevToolsActivePort"))
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	all, _ := chromedp.NewRemoteAllocator(context.Background(), address, chromedp.NoModifyURL)
	ctx, cancel := chromedp.NewContext(all)
	late := time.AfterFunc(startTimeout, cancel)
	if err := chromedp.Run(ctx); !late.Stop() || err != nil {
		return nil, fmt.Errorf("it cannot be driven: %w", err)
	}
	return ctx, nil
}

// await waits until Chromium has written where it is driven: a port, and a path.
func await(file string) (string, error) {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(file)
		if port, path, ok := strings.Cut(strings.TrimSpace(string(data)), "\n"); err == nil && ok {
			return "ws://127.0.0.1:" + port + path, nil
		}
		if running.gone() {
			return "", errors.New("it ended at once")
		}
	}
	return "", fmt.Errorf("it did not say within %s where it is driven", startTimeout)
}

// Stop ends Chromium, if a test has started it, and removes its profile. It is for TestMain, after the tests:
//
//	func TestMain(m *testing.M) { databasetest.Main(m, browsertest.Stop) }
//
// On Unix it only tidies up sooner: Chromium ends with this process, also after a panic.
func Stop() {
	if running.dir == "" {
		return
	}
	running.stop()
	_ = os.RemoveAll(running.dir)
	running.dir = ""
}
