package auth

import "syscall"

// niceness is how far the thread of a hash stands back behind the others: a third of their share where all want the cores.
const niceness = 5

// giveWay lowers the priority of the thread that it runs on, which Linux, unlike POSIX, knows of each. Without the right to
// do so everything works, and is as quick as the hashes let it.
func giveWay() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), niceness) }
