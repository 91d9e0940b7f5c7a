"""The SDN controller: what the network knows becomes, by one pure function, the tables of every switch."""
