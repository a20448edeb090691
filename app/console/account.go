package console

// accountRoutes are the pages about the visitor's own account.
func (c *Console) accountRoutes() []route { return nil }
