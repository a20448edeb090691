package auth

import "runtime"

// aside does work that takes long on a thread of its own, which gives way to all others of the program: nobody waits for it
// but who asked. That the thread is made anew each time takes less than a thousandth of a hash, and leaves none behind.
func aside(work func() error) error {
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and its priority with it
		giveWay()
		var o outcome
		defer func() {
			o.panicked = recover() // for whoever recovers the caller's
			done <- o
		}()
		o.err = work()
	}()
	o := <-done
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}
