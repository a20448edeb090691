package console

// healthRoutes are the pages about how the server is.
func (c *Console) healthRoutes() []route { return nil }
