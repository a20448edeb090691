package auth

import "syscall"

// niceness is how much further back than the program itself the thread of a hash stands: a third of the share of others where
// all want the cores.
const niceness = 5

// giveWay lowers the priority of the thread that it runs on, which Linux, unlike POSIX, knows of each. If that cannot be done
// everything works, and is as quick as the hashes let it.
func giveWay() {
	thread := syscall.Gettid()
	if twenty, err := syscall.Getpriority(syscall.PRIO_PROCESS, thread); err == nil { // the system call says 20 less the niceness
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, thread, 20-twenty+niceness) // 19 at most
	}
}
