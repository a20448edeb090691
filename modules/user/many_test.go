//go:build !race

package user_test

// many is how many items the bulk methods are called with.
const many = 10_000
