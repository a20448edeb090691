package httpapi

// Routes are the endpoints there are, each as method and path.
func Routes() (patterns []string) {
	for _, r := range new(API).routes() {
		patterns = append(patterns, r.method+" "+r.path)
	}
	return patterns
}
