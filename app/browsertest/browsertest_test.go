package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/latchkey-go/latchkey/app/browsertest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// panicking has this test program start a browser and panic.
const panicking = "LATCHKEY_BROWSERTEST_PANICS"

func TestMain(m *testing.M) { databasetest.Main(m, browsertest.Stop) }

// site is one page that says which cookie it was asked with, gives one, and lacks a picture.
func site(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		given := "nothing"
		if c, err := r.Cookie("who"); err == nil {
			given = c.String()
		}
		http.SetCookie(w, &http.Cookie{Name: "who", Value: "seen"})
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<p id=said>asked with %s</p><img src=/missing.png><form action=/><button>Again</button></form>`, given)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestEachBrowserIsSomebodyElses(t *testing.T) {
	at := site(t)
	one, two := browsertest.Start(t), browsertest.Start(t)
	one.Run(chromedp.Navigate(at), chromedp.WaitVisible("#said"))
	if text := one.Text(); !strings.Contains(text, "asked with nothing") {
		t.Errorf("a new browser: %s", text)
	}
	one.Run(chromedp.Click("button"))
	one.WaitURL(func(at string) bool { return strings.HasSuffix(at, "/?") })
	if text := one.Text(); !strings.Contains(text, "asked with who=seen") {
		t.Errorf("the same browser again: %s", text)
	}
	two.Run(chromedp.Navigate(at), chromedp.WaitVisible("#said"))
	if text := two.Text(); !strings.Contains(text, "asked with nothing") {
		t.Errorf("another browser: %s", text)
	}
	if c := one.Complaints(); !slices.ContainsFunc(c, func(s string) bool { return strings.Contains(s, "/missing.png") }) {
		t.Errorf("a picture that is not there: %q", c)
	}
}

func TestTheBrowserReachesThisMachineOnly(t *testing.T) {
	b := browsertest.Start(t)
	if err := b.Try(chromedp.Navigate("http://example.com/")); err == nil || !strings.Contains(err.Error(), "ERR_NAME_NOT_RESOLVED") {
		t.Errorf("example.com: %v", err)
	}
}

// Also where nothing is tidied up.
func TestChromiumEndsWithAProcessThatPanics(t *testing.T) {
	if os.Getenv(panicking) != "" {
		browsertest.Start(t)
		fmt.Println("started")
		go panic("at the disco")
		select {}
	}
	if runtime.GOOS == "windows" {
		return // Stop alone ends it there
	}
	browsertest.Start(t) // or is skipped
	temp := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), panicking+"=1", "TMPDIR="+temp)
	out, err := child.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "started") || !strings.Contains(string(out), "panic: at the disco") {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 500 {
		left, err := filepath.Glob(filepath.Join(temp, "latchkey-chromium-*"))
		if err == nil && len(left) == 0 { // its keeper removes that once Chromium has ended
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("Chromium, or its profile, outlives the test process")
}
