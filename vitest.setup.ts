import fc from 'fast-check';

// Property tests draw other examples on every run, so that many runs see more than one would. In CI they draw the same ones
// each time: what fails there can be run again, and fails because of the change and not because of the day.
if (process.env.CI) fc.configureGlobal({ seed: 20_261_124 });
