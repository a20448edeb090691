package console

import "strings"

// Inside are the pages for who has an account, as patterns, each with the methods that it takes; but for those about the account itself.
func (c *Console) Inside() map[string][]string {
	all := map[string][]string{}
	for _, r := range c.routesInside() {
		if r.path == accountPath || strings.HasPrefix(r.path, accountPath+"/") {
			continue
		}
		if r.get != nil {
			all[c.path(r.path)] = append(all[c.path(r.path)], "GET", "HEAD")
		}
		if r.post != nil {
			all[c.path(r.path)] = append(all[c.path(r.path)], "POST")
		}
	}
	return all
}
