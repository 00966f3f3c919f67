from seqkeras.forecasting import load_air_passengers


def test_the_shipped_series_is_the_one_of_box_and_jenkins():
    df = load_air_passengers()
    assert len(df) == 144
    assert df.y.sum() == 40363  # the total of Series G
    assert (str(df.ds.iloc[0].date()), str(df.ds.iloc[-1].date())) == ("1949-01-01", "1960-12-01")
    assert df.y.iloc[[0, 71, 143]].tolist() == [112, 229, 432]
