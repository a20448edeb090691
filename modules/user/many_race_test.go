//go:build race

package user_test

// many is how many items the bulk methods are called with: more than two statements take. The race detector makes SQLite,
// which is Go code here, twenty times slower.
const many = 1_200
