package console

// eventRoutes are the pages about events and dead letters.
func (c *Console) eventRoutes() []route { return nil }
