/** The tunnels of these tests. */
export const ids = {
  here: '4d21094e-b74c-4916-86c1-d9fa36ea677b',
  away: 'b7a1c9d2-0000-4000-8000-00000000000b',
  public: 'eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee',
} as const;

/** The network of these tests. */
export { routerId } from '../../src/protocols/router/scene.fixture.ts';
