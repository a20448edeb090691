package app_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheCommandCalibrateProposesACostAndOpensNoDatabase(t *testing.T) {
	dir := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LATCHKEY_DATABASE_URL=postgres://nobody@127.0.0.1:1/none", "LATCHKEY_SECRETS=" + testSecret,
		"LATCHKEY_DATA_DIR=" + dir + "/data", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=9"}
	out, errs, code := run(t, env, "calibrate", "--target", "1ms")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{`(?m)^10 +\d+ms +[0-9.]+ +[0-9.]+ +proposed$`, `(?m)^9 +\d+ms +[0-9.]+ +[0-9.]+ +set$`, `keep to cost 10`, `LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if _, err := os.Stat(dir + "/data"); err == nil {
		t.Error("it made the data directory")
	}
	for _, args := range [][]string{{"--target", "0s"}, {"--target", "3s"}, {"--target", "-1s"}, {"--target", "soon"}, {"now"}} {
		if out, errs, code := run(t, env, append([]string{"calibrate"}, args...)...); code != 2 || out != "" || !strings.Contains(errs, "calibrate") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
}
