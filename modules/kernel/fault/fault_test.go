package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

var (
	errGone  = fault.New(fault.NotFound, "thing_gone", "The thing is gone.")
	errBusy  = fault.New(fault.TooMany, "thing_busy", "Too many things.")
	errTwin  = fault.New(fault.NotFound, "thing_gone", "The thing is gone.")
	errPlain = errors.New("the disk is full")
)

func TestDerivedFaultIsStillTheDeclaredOne(t *testing.T) {
	for name, derived := range map[string]error{
		"itself":      errGone,
		"message":     errGone.Msg("The thing %q is gone.", "x"),
		"detail":      errGone.About("lid", "The lid of the thing is gone."),
		"wait":        errGone.After(time.Minute),
		"wrapped":     fmt.Errorf("look for it: %w", errGone.Msg("Gone.")),
		"joined":      errors.Join(errPlain, errGone.After(time.Second)),
		"both":        derive(t, errGone.Msg("Gone."), func(f *fault.Error) error { return f.After(time.Minute) }),
		"three times": derive(t, errGone.After(time.Minute), func(f *fault.Error) error { return f.Msg("Gone.") }),
	} {
		if !errors.Is(derived, errGone) {
			t.Errorf("%s: errors.Is does not find what it was derived from", name)
		}
		if errors.Is(derived, errBusy) || errors.Is(derived, errTwin) {
			t.Errorf("%s: errors.Is finds another fault", name)
		}
		f, ok := fault.Of(derived)
		if !ok || f.Kind != fault.NotFound || f.Reason != "thing_gone" || fault.KindOf(derived) != fault.NotFound {
			t.Errorf("%s: %+v, want the kind and reason of what it was derived from", name, f)
		}
	}
	if errors.Is(errGone, errGone.Msg("Gone.")) {
		t.Error("the declared fault is one that was derived from it")
	}
}

// derive applies f to a fault that was derived already.
func derive(t *testing.T, err error, f func(*fault.Error) error) error {
	t.Helper()
	got, ok := fault.Of(err)
	if !ok {
		t.Fatalf("%v is no fault", err)
	}
	return f(got)
}

func TestDerivingChangesOneThingAndNotTheOriginal(t *testing.T) {
	both := derive(t, errBusy.Msg("%d things, 100%% of them.", 3), func(f *fault.Error) error { return f.After(time.Minute) })
	about, _ := fault.Of(derive(t, errBusy.About("lid", "The %s.", "lid"), func(f *fault.Error) error { return f.After(time.Minute) }))
	if about.Detail != "lid" || about.Message != "The lid." || about.RetryAfter != time.Minute || errBusy.Detail != "" {
		t.Errorf("%+v, want the detail, the message and the wait", about)
	}
	f, _ := fault.Of(both)
	if f.Error() != "3 things, 100% of them." || f.RetryAfter != time.Minute {
		t.Errorf("got %q after %v, want the message and the wait", f.Error(), f.RetryAfter)
	}
	if errBusy.Error() != "Too many things." || errBusy.RetryAfter != 0 {
		t.Errorf("the declared fault became %q after %v", errBusy.Error(), errBusy.RetryAfter)
	}
}

func TestErrorThatIsNoFaultIsInternal(t *testing.T) {
	for _, err := range []error{errPlain, fmt.Errorf("write: %w", errPlain), nil} {
		if f, ok := fault.Of(err); ok || f != nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("%v: %v, %t, kind %d, want no fault", err, f, ok, fault.KindOf(err))
		}
	}
	if errors.Unwrap(errGone) != nil {
		t.Errorf("a declared fault wraps %v", errors.Unwrap(errGone))
	}
}

func TestFirstFaultOfAChainCounts(t *testing.T) {
	err := fmt.Errorf("outer: %w", errors.Join(errPlain, errBusy.Msg("Busy."), errGone))
	if f, _ := fault.Of(err); f.Reason != "thing_busy" || f.Message != "Busy." {
		t.Errorf("got %s (%s), want the first with its own message", f.Reason, f.Message)
	}
}
